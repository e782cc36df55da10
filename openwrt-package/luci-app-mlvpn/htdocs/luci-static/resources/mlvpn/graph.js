// SPDX-License-Identifier: BSD-2-Clause
'use strict';
'require baseclass';
'require mlvpn.units as units';

// One of each hue, of middle lightness: at least 3:1 against white and against the dark theme's grounds (WCAG 2.2, 1.4.11).
const COLOURS = [ '#3b82c4', '#c9741a', '#2f9455', '#9b6bd6', '#d65a7e', '#1c8f9a', '#a0784b', '#808890' ];

// In CSS pixels of a page that is wide enough; on a phone the drawing is as wide as the page, so that its text stays legible.
const WIDTH = 640, LEAST_WIDTH = 300, HEIGHT = 220;
const LEFT = 72, RIGHT = 8, TOP = 10, BOTTOM = 26;

// A quiet line's noise is not to fill the graph: 100 kbit/s, in bytes per second.
const LEAST_TOP = 12500;

function node(name, attributes, children) {
	const element = document.createElementNS('http://www.w3.org/2000/svg', name);

	Object.keys(attributes).forEach(key => element.setAttribute(key, attributes[key]));
	(children || []).forEach(child => element.appendChild(
		typeof(child) == 'object' ? child : document.createTextNode(child)));

	return element;
}

// The next even number of bits above a rate.
function roundTop(bytesPerSec) {
	const bits = Math.max(bytesPerSec, LEAST_TOP) * 8;
	const decade = Math.pow(10, Math.floor(Math.log10(bits)));
	const step = [ 1, 1.5, 2, 3, 4, 5, 6, 8, 10 ].find(step => step * decade >= bits * 0.999);

	return step * decade / 8;
}

return baseclass.extend({
	colour(place) {
		return COLOURS[place % COLOURS.length];
	},

	// Draws the rates of `history` (an answer of ubus) in one direction, a band for each link, one on the other; the line on
	// top is their sum.
	draw(history, field, title) {
		const width = Math.max(LEAST_WIDTH, Math.min(WIDTH, document.documentElement.clientWidth - 10));
		const links = history.links || [];
		const count = Math.max(2, ...links.map(link => (link[field] || []).length));
		const rows = links.map(link => {
			const known = link[field] || [];

			// A link that is younger than the others carried nothing before.
			return Array(count - known.length).fill(0).concat(known);
		});
		const sums = Array.from({ length: count }, (_, at) => rows.reduce((sum, row) => sum + row[at], 0));
		const highest = roundTop(Math.max(...sums));
		const x = at => LEFT + (width - LEFT - RIGHT) * at / (count - 1);
		const y = rate => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * rate / highest;
		const point = (at, rate) => '%s,%s'.format(x(at).toFixed(1), y(rate).toFixed(1));
		const bands = [];
		let floor = Array(count).fill(0);

		rows.forEach((row, place) => {
			const ceiling = row.map((rate, at) => floor[at] + rate);
			const there = ceiling.map((rate, at) => point(at, rate));
			const back = floor.map((rate, at) => point(at, rate)).reverse();

			bands.push(node('polygon', {
				'points': there.concat(back).join(' '),
				'fill': this.colour(place),
				'data-link': links[place].name
			}, [ node('title', {}, [ links[place].name ]) ]));
			floor = ceiling;
		});

		const sum = node('polyline', { 'points': sums.map((rate, at) => point(at, rate)).join(' '), 'class': 'mlvpn-sum' });
		const now = units.rate(sums[count - 1]);

		return node('svg', {
			'viewBox': '0 0 %d %d'.format(width, HEIGHT),
			'class': 'mlvpn-graph',
			'role': 'img',
			'aria-label': '%s: %s'.format(title, now)
		}, [ ...this.scale(highest, y, width - RIGHT), ...this.times(count, history.interval_ms, x), ...bands, sum ]);
	},

	scale(highest, y, right) {
		return [ 0, 0.5, 1 ].flatMap(part => {
			const at = y(highest * part).toFixed(1);

			return [
				node('line', { 'x1': LEFT, 'x2': right, 'y1': at, 'y2': at, 'class': 'mlvpn-grid' }),
				node('text', { 'x': LEFT - 6, 'y': at, 'text-anchor': 'end', 'dominant-baseline': 'middle' },
					[ units.rate(highest * part) ])
			];
		});
	},

	times(count, interval, x) {
		const span = count * interval;
		// On a phone there is no room for the middle.
		const parts = x(count - 1) > WIDTH / 2 ? [ 0, 0.5, 1 ] : [ 0, 1 ];

		return parts.map(part => node('text', {
			'x': x((count - 1) * part).toFixed(1),
			'y': HEIGHT - 8,
			'text-anchor': [ 'start', 'middle', 'end' ][part * 2]
		}, [ part == 1 ? _('now') : _('%s ago').format(units.duration(span * (1 - part))) ]));
	}
});
