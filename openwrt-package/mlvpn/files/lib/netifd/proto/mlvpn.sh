#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck disable=SC1091,SC2154,SC2317,SC3043 # netifd has these files, variables and callers; busybox ash has local
# A tunnel as an interface of netifd, for zones, routes and mwan3: it is up while the tunnel is. The daemon is procd's
# (/etc/init.d/mlvpn); the addresses and routes are those of the tunnel's section.
#
#     config interface 'vpn'
#             option proto 'mlvpn'
#             option tunnel 'tunnel'        # may be left out where only one is enabled

[ -n "$INCLUDE_ONLY" ] || {
	. "$IPKG_INSTROOT/lib/functions.sh"
	. "$IPKG_INSTROOT/lib/netifd/netifd-proto.sh"
	init_proto "$@"
}

proto_mlvpn_init_config() {
	# shellcheck disable=SC2034 # netifd-proto.sh reads these
	no_device=1 available=1
	proto_config_add_string tunnel
	proto_config_add_defaults
}

proto_mlvpn_setup() {
	local config="$1" tunnel

	json_get_vars tunnel
	# netifd ends it at teardown, and sets the interface up anew should it end by itself.
	proto_run_command "$config" "$IPKG_INSTROOT/usr/lib/mlvpn/events" "$config" ${tunnel:+"$tunnel"}
}

proto_mlvpn_teardown() {
	proto_kill_command "$1"
}

[ -n "$INCLUDE_ONLY" ] || add_protocol mlvpn
