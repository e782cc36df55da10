# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the handler reads and sets these
# A stand-in for netifd's shell functions: every call is recorded.

for _name in init_update send_update add_ipv4_address add_ipv6_address add_ipv4_route add_ipv6_route run_command kill_command \
	config_add_string config_add_defaults; do
	eval "proto_$_name() { record proto_$_name \"\$@\"; }"
done

# What the interface's section says.
json_get_vars() {
	tunnel=$NETIFD_TUNNEL
}

# init_proto CALL INTERFACE: what netifd asks the handler to do.
init_proto() {
	_call=$1 _interface=$2
}

add_protocol() {
	case "$_call" in
	init) "proto_$1_init_config" && record "no_device=$no_device" "available=$available" ;;
	*) "proto_$1_$_call" "$_interface" ;;
	esac
}
