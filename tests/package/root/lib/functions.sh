# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # eval assigns these
# A stand-in for OpenWrt's /lib/functions.sh: its documented functions that the package's scripts use, over the stand-in uci.

config_load() {
	eval "$(uci shell "$1")"
}

# config_get VARIABLE SECTION OPTION [DEFAULT]
config_get() {
	eval "$1=\${CONFIG_${2}_${3}:-\${4-}}"
}

config_get_bool() {
	config_get "$@"
	eval "_value=\$$1"
	case "$_value" in
	1 | on | true | yes | enabled) eval "$1=1" ;;
	0 | off | false | no | disabled) eval "$1=0" ;;
	*) eval "$1=${4-}" ;;
	esac
}

# config_foreach FUNCTION TYPE [ARGUMENT]..
config_foreach() {
	_function=$1 _type=$2
	shift 2
	for _section in $CONFIG_SECTIONS; do
		eval "_found=\$CONFIG_${_section}_TYPE"
		# The function may loop, too.
		[ "$_found" = "$_type" ] || continue
		_saved="$_saved $_function:$_type"
		"$_function" "$_section" "$@"
		_last=${_saved##* }
		_saved=${_saved% *}
		_function=${_last%:*} _type=${_last#*:}
	done
}

# config_list_foreach SECTION OPTION FUNCTION [ARGUMENT]..
config_list_foreach() {
	eval "_items=\${CONFIG_${1}_${2}-}"
	_each=$3
	shift 3
	_newline='
'
	while [ -n "$_items" ]; do
		_item=${_items%%"$_newline"*}
		[ "$_item" = "$_items" ] && _items= || _items=${_items#*"$_newline"}
		"$_each" "$_item" "$@"
	done
}
