#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What mlvpn runs as root when the tunnel or a link comes up or goes down. $1 is the device, $2 what happened, $3 the link;
# the addresses and routes of [general] come in the environment.
set -eu

device=$1
PATH=/usr/sbin:/usr/bin:/sbin:/bin

case $2 in
tuntap_up)
    ip link set dev "$device" mtu "$MTU" up
    [ -z "$IP4" ] || ip address replace "$IP4" dev "$device"
    [ -z "$IP6" ] || ip address replace "$IP6" dev "$device" nodad
    for route in $IP4_ROUTES; do
        ip route replace "$route" ${IP4_GATEWAY:+via "$IP4_GATEWAY"} dev "$device"
    done
    for route in $IP6_ROUTES; do
        ip -6 route replace "$route" ${IP6_GATEWAY:+via "$IP6_GATEWAY"} dev "$device"
    done
    ;;
tuntap_down)
    ip link set dev "$device" down
    ;;
esac
