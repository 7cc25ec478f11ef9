# SPDX-License-Identifier: MIT
"""What the end-to-end tests, the guest tests and the demo are made of: namespaces, guests, servers, and the program under test."""
