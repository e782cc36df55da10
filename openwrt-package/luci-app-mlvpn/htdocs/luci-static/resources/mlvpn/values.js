// SPDX-License-Identifier: BSD-2-Clause
'use strict';
'require baseclass';

// What each kind of value may be, as the daemon's own reader has it (uci/src/value.rs): the tests hold one table of cases
// against both.

const MOST_HOST = 255, MOST_DEVICE = 15, KEY_BYTES = 32;

// Largest number, and largest rate in bytes per second: 32 bits. Amounts are counted in thousandths in 64 bits.
const MOST_NUMBER = 2n ** 32n - 1n, MOST_RATE = MOST_NUMBER, MOST_THOUSANDTHS = 2n ** 64n - 1n;

const FLAGS = [ '1', 'on', 'true', 'yes', 'enabled', '0', 'off', 'false', 'no', 'disabled' ];
const PROTOCOLS = [ 'icmp', 'tcp', 'udp', 'gre', 'esp', 'ah', 'icmpv6', 'sctp' ];
const DSCPS = /^(EF|VA|LE|CS[0-7]|AF[1-4][1-3])$/i;

const RATES = { 'bit': 1n, 'kbit': 1000n, 'mbit': 1000000n, 'gbit': 1000000000n };
const VOLUMES = { 'M': 10n ** 6n, 'MB': 10n ** 6n, 'mb': 10n ** 6n, 'G': 10n ** 9n, 'GB': 10n ** 9n, 'gb': 10n ** 9n,
	'T': 10n ** 12n, 'TB': 10n ** 12n, 'tb': 10n ** 12n };
const TIMES = { 'ms': 1n, 's': 1000n, 'm': 60000n, 'min': 60000n, 'h': 3600000n };

function number(text) {
	const value = /^[0-9]+$/.test(text) ? BigInt(text) : null;

	return value != null && value <= MOST_NUMBER ? Number(value) : null;
}

function isWithin(text, least, most) {
	const value = number(text);

	return value != null && value >= least && value <= most;
}

// A number with up to three digits behind a point, in thousandths, and the unit behind it.
function quantity(text) {
	const found = /^([0-9]+)(?:\.([0-9]{1,3}))?([^0-9.].*)?$/.exec(text);

	if (!found || number(found[1]) == null)
		return null;

	const thousandths = BigInt(found[1]) * 1000n + BigInt((found[2] || '').padEnd(3, '0'));

	return [ thousandths, (found[3] || '').replace(/^ +/, '') ];
}

// That many thousandths of `scale`, if no part of one is left.
function times(thousandths, scale) {
	const scaled = thousandths * scale;

	return scaled <= MOST_THOUSANDTHS && scaled % 1000n == 0n ? scaled / 1000n : null;
}

function isDuration(text, option) {
	const found = quantity(text);
	const own = option.unit == 's' ? TIMES.s : TIMES.ms;
	const scale = found && (found[1] == '' ? own : TIMES[found[1]]);
	const ms = scale ? times(found[0], scale) : null;

	// Part of a unit was not meant to be dropped.
	return ms != null && ms % own == 0n && ms / own >= BigInt(option.min) && ms / own <= BigInt(option.max);
}

function isRate(text) {
	const found = quantity(text);

	if (!found)
		return false;

	const unit = /^([kmg]?bit)(?:\/s)?$|^([kmg]?)bps$/i.exec(found[1]);

	if (!unit)
		return found[1] == '' && found[0] == 0n;

	const scale = RATES[(unit[1] || '%sbit'.format(unit[2])).toLowerCase()];
	const bits = times(found[0], scale);

	return bits != null && bits / 8n <= MOST_RATE;
}

function isVolume(text) {
	const found = quantity(text);
	const bytes = found && VOLUMES[found[1]] ? times(found[0], VOLUMES[found[1]]) : null;

	return bytes != null && bytes > 0n;
}

function isIp4(text) {
	const parts = text.split('.');

	// A leading zero would be octal to some readers.
	return parts.length == 4 && parts.every(part => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) <= 255);
}

function isIp6(text) {
	const halves = text.split('::');

	if (halves.length > 2)
		return false;

	const groups = half => half === '' ? [] : half.split(':');
	const all = halves.flatMap(groups);
	const last = all[all.length - 1];
	let count = all.length;

	// The last two groups may be written as an IPv4 address, if they are what ends the text.
	if (last != null && last.includes('.') && !text.endsWith('::')) {
		if (!isIp4(last))
			return false;

		all.pop();
		count++;
	}

	return all.every(group => /^[0-9a-f]{1,4}$/i.test(group)) && (halves.length == 2 ? count <= 7 : count == 8);
}

function isNetwork(text, isAddress, bits, needsPrefix) {
	const at = text.indexOf('/');

	if (at < 0)
		return !needsPrefix && isAddress(text);

	return isAddress(text.slice(0, at)) && isWithin(text.slice(at + 1), 0, bits);
}

function words(text) {
	return text.split(/[, \t]+/).filter(word => word != '');
}

function host(text) {
	const bare = /^\[.*\]$/.test(text) ? text.slice(1, -1) : text;

	return /^[A-Za-z0-9.:_%-]+$/.test(bare) && bare.length <= MOST_HOST ? bare : null;
}

function isEndpoint(text) {
	const at = text.lastIndexOf(':');
	const place = at < 0 ? '' : text.slice(0, at);
	const bare = host(place);

	// Without brackets nobody can tell an IPv6 address's last group from a port.
	return bare != null && (/^\[.*\]$/.test(place) || !bare.includes(':')) && isWithin(text.slice(at + 1), 1, 65535);
}

function isPorts(text) {
	const ends = text.split('-');

	return ends.length <= 2 && ends.every(end => isWithin(end, 1, 65535)) && Number(ends[0]) <= Number(ends[ends.length - 1]);
}

// 32 bytes in Base64, as WireGuard writes keys.
function isKey(text) {
	if (!/^[A-Za-z0-9+/]{43}=$/.test(text))
		return false;

	const bytes = atob(text);

	// The last letter's unused bits are zero, or two texts would be one key.
	return bytes.length == KEY_BYTES && btoa(bytes) == text;
}

const isDevice = text => /^[!-~]+$/.test(text) && !/[/:%]/.test(text) && text.length <= MOST_DEVICE && text != '.' && text != '..';
const hasControls = text => /[\u0000-\u001f\u007f-\u009f]/.test(text);
const isNetwork4 = text => isNetwork(text, isIp4, 32, false);
const isNetwork6 = text => isNetwork(text, isIp6, 128, false);
const isName = text => /^[A-Za-z0-9_]+$/.test(text);

const KINDS = {
	flag: text => FLAGS.includes(text),
	choice: (text, option) => option.choices.includes(text),
	password: text => text != '' && !hasControls(text),
	private_key: isKey,
	shared_secret: isKey,
	public_key: isKey,
	path: text => text.startsWith('/') && !hasControls(text),
	device: isDevice,
	host: text => host(text) != null,
	port: text => isWithin(text, 1, 65535),
	ports: isPorts,
	cidr4: text => isNetwork(text, isIp4, 32, true),
	cidr6: text => isNetwork(text, isIp6, 128, true),
	ip4: isIp4,
	ip6: isIp6,
	networks4: text => words(text).every(word => word == 'default' || isNetwork4(word)),
	networks6: text => words(text).every(word => word == 'default' || isNetwork6(word)),
	networks: text => words(text).every(word => isNetwork4(word) || isNetwork6(word)),
	number: (text, option) => isWithin(text, option.min, option.max),
	duration: isDuration,
	rate: isRate,
	volume: isVolume,
	endpoint: isEndpoint,
	network: isName,
	section: isName,
	ip_protocol: text => PROTOCOLS.includes(text.toLowerCase()) || isWithin(text, 0, 255),
	dscp: text => DSCPS.test(text) || isWithin(text, 0, 63)
};

return baseclass.extend({
	kinds() {
		return Object.keys(KINDS);
	},

	// Whether `text` is a value of `option`, an entry of options.json. What this page does not know the daemon judges.
	isValid(option, text) {
		const check = KINDS[option.type];

		return check == null || check(text, option);
	}
});
