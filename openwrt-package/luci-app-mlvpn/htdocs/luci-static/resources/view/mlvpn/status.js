// SPDX-License-Identifier: BSD-2-Clause
'use strict';
'require view';
'require rpc';
'require poll';
'require dom';
'require ui';
'require mlvpn.advice as advice';
'require mlvpn.graph as graph';
'require mlvpn.units as units';

// Seconds between two looks: rates are measured each second, and a router has better things to do.
const INTERVAL = 3;

// Peers shown. A server with more is better asked by `ubus call mlvpn peers`.
const MOST_PEERS = 100;

const callService = rpc.declare({ object: 'service', method: 'list', params: [ 'name' ], expect: { mlvpn: {} } });

// The instance beside those of the tunnels, which hands their events to hotplug.
const LISTENER = 'hotplug-events';

// The tunnel that was chosen of several.
let chosen = null;

// What a tunnel can be asked.
function callsOf(object) {
	return {
		status: rpc.declare({ object, method: 'status', reject: true }),
		history: rpc.declare({ object, method: 'history', reject: true }),
		peers: rpc.declare({ object, method: 'peers', params: [ 'first', 'count' ], reject: true }),
		link: rpc.declare({ object, method: 'link', params: [ 'name', 'action' ], reject: true })
	};
}

function ask(calls) {
	return calls.status().then(status => Promise.all([
		L.resolveDefault(calls.history(), null),
		status.mode == 'server' ? L.resolveDefault(calls.peers(0, MOST_PEERS), null) : null
	]).then(([ history, peers ]) => ({ status, history, peers })));
}

// Of several tunnels each has its own object; the only one may have been started by hand, and has the short name.
function fetch() {
	return L.resolveDefault(callService('mlvpn'), null).then(service => {
		const tunnels = Object.keys((service && service.instances) || {}).filter(name => name != LISTENER).sort();
		const tunnel = tunnels.includes(chosen) ? chosen : tunnels[0];
		const calls = callsOf(tunnels.length > 1 ? 'mlvpn.%s'.format(tunnel) : 'mlvpn');

		return ask(calls).catch(error => ({ error, service })).then(answer => ({ ...answer, calls, tunnel, tunnels }));
	});
}

// All of what peers and links are called came over the network once: it is added as text, in arrays, never as markup.
function table(head, rows) {
	return E('table', { 'class': 'table mlvpn-links' }, [
		E('tr', { 'class': 'tr table-titles mlvpn-head' }, head.map(title => E('th', { 'class': 'th' }, [ title ]))),
		...rows.map(row => E('tr', { 'class': 'tr' }, row.map((cell, at) =>
			E('td', { 'class': 'td', 'data-title': head[at] }, [ E('div', {}, [].concat(cell)) ]))))
	]);
}

function sentences(found) {
	return E('ul', { 'class': 'mlvpn-advice' }, found.map(([ what, step ]) =>
		E('li', {}, [ E('strong', {}, [ what ]), E('span', {}, [ step ]) ])));
}

function stateOf(link) {
	const policy = link.policy || {};
	const detail = [
		link.reason,
		link.backup ? _('backup') : null,
		policy.tier > 1 ? _('tier %d').format(policy.tier) : null,
		policy.metered ? _('costs money') : null,
		advice.stop(policy.stop)
	].filter(Boolean).join('; ');

	return [
		E('span', { 'class': 'mlvpn-mark mlvpn-%s'.format(advice.severity(link.state)) }), advice.linkState(link.state),
		...(detail ? [ E('small', {}, [ detail ]) ] : [])
	];
}

function rates(link, field) {
	return [ units.rate(link['%s_bytes_per_sec'.format(field)]), E('small', {}, [ units.volume(link['%s_bytes'.format(field)]) ]) ];
}

// What a link was found to carry, while that is known.
function capacity(link) {
	const found = (link.sending || {}).capacity_bytes_per_sec;

	return found == null ? [] : [ E('small', {}, [ _('of %s').format(units.rate(found)) ]) ];
}

// The day's and the month's use, of the limit that comes next.
function quota(link) {
	const used = (link.policy || {}).quota;

	if (!used)
		return '-';

	const lines = [ [ 'day', _('today') ], [ 'month', _('this month') ] ].map(([ span, word ]) => {
		const bytes = used['%s_bytes'.format(span)];
		const limits = [ 'soft', 'hard' ].map(kind => used['%s_%s_bytes'.format(span, kind)]).filter(limit => limit != null);
		const next = limits.find(limit => bytes < limit) || limits[limits.length - 1];

		return limits.length ? '%s: %s'.format(word, _('%s of %s').format(units.volume(bytes), units.volume(next))) : null;
	});

	return lines.filter(Boolean).map(line => E('div', {}, [ line ]));
}

return view.extend({
	load() {
		return fetch();
	},

	render(answer) {
		const page = E('div', { 'class': 'cbi-map mlvpn-status' });

		this.show(page, answer);
		poll.add(() => fetch().then(answer => this.show(page, answer)), INTERVAL);

		return E([], [
			E('link', { 'rel': 'stylesheet', 'href': L.resource('mlvpn/mlvpn.css') }),
			E('h2', {}, [ _('MLVPN') ]),
			page
		]);
	},

	show(page, answer) {
		// Whoever works by keyboard stays on the button they were on.
		const held = page.contains(document.activeElement) ? document.activeElement.getAttribute('data-link') : null;

		this.calls = answer.calls;
		dom.content(page, [ this.tabs(page, answer) ].concat(answer.error
			? this.failure(answer)
			: [ this.summary(answer.status), this.graphs(answer.history), this.links(answer.status), this.peers(answer.peers) ]));

		page.querySelectorAll('button[data-link]').forEach(button => {
			if (button.getAttribute('data-link') === held)
				button.focus();
		});
	},

	tabs(page, answer) {
		if (answer.tunnels.length < 2)
			return '';

		return E('ul', { 'class': 'cbi-tabmenu' }, answer.tunnels.map(name =>
			E('li', { 'class': name == answer.tunnel ? 'cbi-tab' : 'cbi-tab-disabled' }, [
				E('a', { 'href': '#', 'data-tunnel': name, 'click': ev => this.choose(ev, page, name) }, [ name ])
			])));
	},

	choose(ev, page, name) {
		ev.preventDefault();
		chosen = name;

		// Another may have been chosen meanwhile.
		return fetch().then(answer => answer.tunnel == chosen ? this.show(page, answer) : null);
	},

	failure(answer) {
		return [ E('div', { 'class': 'cbi-section' }, [
			E('p', { 'class': 'mlvpn-state' }, [ _('The state of the tunnel is not known.') ]),
			sentences([ advice.ofFailure(answer.error, answer.service) ])
		]) ];
	},

	summary(status) {
		const found = advice.ofStatus(status);

		return E('div', { 'class': 'cbi-section' }, [
			E('p', { 'class': 'mlvpn-state', 'data-state': status.state }, [ advice.tunnelState(status.state) ]),
			E('p', {}, [ status.summary ]),
			found.length ? E('h3', {}, [ _('What to do') ]) : '',
			found.length ? sentences(found) : '',
			E('dl', { 'class': 'mlvpn-facts' }, advice.facts(status).flatMap(([ name, value ]) =>
				[ E('dt', {}, [ name ]), E('dd', {}, [ value ]) ]))
		]);
	},

	graphs(history) {
		if (!history || !(history.links || []).length)
			return '';

		const directions = [ [ 'received_bytes_per_sec', _('Received') ], [ 'sent_bytes_per_sec', _('Sent') ] ];

		return E('div', { 'class': 'cbi-section' }, [
			E('h3', {}, [ _('Throughput') ]),
			E('ul', { 'class': 'mlvpn-legend' }, [
				...history.links.map((link, place) => E('li', {}, [
					E('span', { 'class': 'mlvpn-swatch', 'style': 'background: %s'.format(graph.colour(place)) }), link.name
				])),
				E('li', {}, [ E('span', { 'class': 'mlvpn-swatch mlvpn-swatch-sum' }), _('all links') ])
			]),
			E('div', { 'class': 'mlvpn-graphs' }, directions.map(([ field, title ]) =>
				E('figure', {}, [ E('figcaption', {}, [ title ]), graph.draw(history, field, title) ])))
		]);
	},

	links(status) {
		const head = [ _('Link'), _('State'), _('Sent'), _('Received'), _('Round trip'), _('Queue'), _('Loss'), _('Quota'), _('MTU'), _('Use') ];
		const rows = (status.links || []).map(link => [
			[ E('strong', {}, [ link.name ]), E('small', {}, [ [ link.interface, link.device ].filter(Boolean).join(', ') ]) ],
			stateOf(link),
			[ ...rates(link, 'sent'), ...capacity(link) ],
			rates(link, 'received'),
			units.milliseconds(link.rtt_us),
			units.milliseconds((link.sending || {}).queue_us),
			units.percent(link.loss_percent),
			quota(link),
			link.mtu == null ? '-' : String(link.mtu),
			this.switch(link)
		]);

		return rows.length ? E('div', { 'class': 'cbi-section' }, [ E('h3', {}, [ _('Links') ]), table(head, rows) ]) : '';
	},

	// Takes a link out of use, or back into it; until it is said again or the service starts anew.
	switch(link) {
		const isOut = link.state == 'disabled';

		return E('button', {
			'class': 'btn cbi-button',
			'data-link': link.name,
			'disabled': L.hasViewPermission() ? null : true,
			'title': isOut ? _('Use the link as the settings say') : _('Use the link no more, until it is put back or the service restarts'),
			'click': ui.createHandlerFn(this, () => this.calls.link(link.name, isOut ? 'up' : 'down').catch(error =>
				ui.addNotification(null, E('p', {}, [ _('%s was not changed: %s').format(link.name, error.message) ]), 'danger')))
		}, [ isOut ? _('Put back') : _('Take out') ]);
	},

	peers(peers) {
		if (!peers || !peers.total)
			return '';

		const head = [ _('Peer'), _('State'), _('Networks'), _('Links') ];
		const rows = peers.peers.map(peer => [
			[ E('strong', {}, [ peer.name ]), E('small', {}, [ peer.public_key || '' ]) ],
			[ E('span', { 'class': 'mlvpn-mark mlvpn-%s'.format(peer.up ? 'good' : 'bad') }), peer.up ? _('up') : _('down') ],
			peer.allowed.join(', ') || '-',
			peer.links.length ? peer.links.map(link => E('div', {}, [
				...stateOf(link), ' ', link.remote || '', ' ', link.rtt_us == null ? '' : units.milliseconds(link.rtt_us)
			])) : '-'
		]);
		const more = peers.total > peers.peers.length
			? E('p', {}, [ _('The first %d of %d peers are shown; the others: ubus call mlvpn peers').format(peers.peers.length, peers.total) ])
			: '';

		return E('div', { 'class': 'cbi-section' }, [ E('h3', {}, [ _('Peers') ]), table(head, rows), more ]);
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
