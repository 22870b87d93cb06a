# SPDX-License-Identifier: Apache-2.0
"""The package under attack: hostile files, and what has to be left standing after each."""
