// SPDX-License-Identifier: BSD-2-Clause
'use strict';
'require baseclass';

// Units of a thousand, as rates of links and quotas are sold.
const PREFIXES = [ '', 'k', 'M', 'G', 'T' ];

// Three digits say enough, and keep their width while the figure moves.
function scaled(value, unit) {
	let place = 0;

	while (value >= 999.5 && place < PREFIXES.length - 1) {
		value /= 1000;
		place++;
	}

	const digits = (place == 0 || value >= 99.95) ? 0 : (value >= 9.995 ? 1 : 2);

	return '%s %s%s'.format(value.toFixed(digits), PREFIXES[place], unit);
}

return baseclass.extend({
	// People count bits per second; the daemon counts bytes.
	rate(bytesPerSec) {
		return bytesPerSec == null ? '-' : scaled(bytesPerSec * 8, 'bit/s');
	},

	volume(bytes) {
		return bytes == null ? '-' : scaled(bytes, 'B');
	},

	milliseconds(microseconds) {
		if (microseconds == null)
			return '-';

		const ms = microseconds / 1000;

		return '%s ms'.format(ms.toFixed(ms < 10 ? 1 : 0));
	},

	percent(value) {
		return value == null ? '-' : '%s %%'.format(value);
	},

	duration(ms) {
		const seconds = Math.floor(ms / 1000);
		const parts = [
			[ Math.floor(seconds / 86400), _('d', 'days') ],
			[ Math.floor(seconds / 3600) % 24, _('h', 'hours') ],
			[ Math.floor(seconds / 60) % 60, _('min', 'minutes') ],
			[ seconds % 60, _('s', 'seconds') ]
		];
		const first = parts.findIndex(part => part[0] > 0);

		// The two largest say enough, and the second only if it says something.
		return (first < 0 ? parts.slice(-1) : parts.slice(first, first + 2).filter(part => part[0] > 0))
			.map(part => part.join(' ')).join(' ');
	}
});
