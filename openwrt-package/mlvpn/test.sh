#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Run by OpenWrt's CI on the installed package.

case "$1" in
mlvpn)
	mlvpn --version | grep -F "$2" || exit 1
	# The file that is installed starts nothing, and says what to do.
	mlvpn check /etc/config/mlvpn 2>&1 | grep -F "no tunnel is enabled" || exit 1
	;;
esac
