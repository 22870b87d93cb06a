# SPDX-License-Identifier: Apache-2.0
"""Tests, and `test.standin`, which they share; a package so that it can be imported by name."""
