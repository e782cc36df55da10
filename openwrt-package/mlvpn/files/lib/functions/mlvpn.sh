# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh
# shellcheck disable=SC3043 # busybox ash has local
# What the scripts of mlvpn share; functions.sh was read before. The names of sections are what libuci lets them be: letters,
# digits and underscores.

# mlvpn_is_enabled SECTION: of either kind, tunnel or OpenMPTCProuter's mlvpn; the package is loaded.
mlvpn_is_enabled() {
	local type enabled

	config_get type "$1" TYPE
	case "$type" in
	tunnel) config_get_bool enabled "$1" enabled 0 ;;
	mlvpn) config_get_bool enabled "$1" enable 0 ;;
	*) return 1 ;;
	esac
	[ "$enabled" = 1 ]
}

# mlvpn_each_tunnel FUNCTION: calls it with the name of every tunnel that is enabled.
mlvpn_each_tunnel() {
	config_foreach _mlvpn_one tunnel "$1"
	config_foreach _mlvpn_one mlvpn "$1"
}

_mlvpn_one() {
	if mlvpn_is_enabled "$1"; then
		"$2" "$1"
	fi
}

# mlvpn_device VARIABLE SECTION: the device of a tunnel.
mlvpn_device() {
	local type option=device

	config_get type "$2" TYPE
	[ "$type" = mlvpn ] && option=interface_name
	config_get "$1" "$2" "$option" mlvpn0
}

# mlvpn_tunnel_of DEVICE: prints the enabled tunnel whose device that is.
mlvpn_tunnel_of() {
	_mlvpn_wanted=$1
	mlvpn_each_tunnel _mlvpn_print_if_device
}

_mlvpn_print_if_device() {
	local device

	mlvpn_device device "$1"
	[ "$device" != "$_mlvpn_wanted" ] || printf '%s\n' "$1"
}

# mlvpn_is_claimed TUNNEL: whether an interface of netifd is this tunnel, so that its addresses and routes are netifd's.
mlvpn_is_claimed() {
	local interface named

	for interface in $(uci -q show network | sed -n "s/^network\.\([^.=]*\)\.proto='mlvpn'$/\1/p"); do
		named=$(uci -q get "network.$interface.tunnel")
		[ -n "$named" ] && [ "$named" != "$1" ] || return 0
	done
	return 1
}
