// SPDX-License-Identifier: BSD-2-Clause
'use strict';
'require baseclass';
'require mlvpn.units as units';

// A share of dropped packets that somebody would feel, of all that arrived.
const MANY_DROPS = 0.01;

// Packets are about this long when many flow, in bytes.
const USUAL_PACKET = 1200;

const TUNNEL_STATES = {
	up: _('The tunnel is up.'),
	degraded: _('The tunnel is up, but not every link carries traffic.'),
	down: _('The tunnel is down.')
};

const LINK_STATES = {
	up: _('up'),
	lossy: _('loses packets'),
	slow: _('too slow'),
	silent: _('silent'),
	connecting: _('connecting'),
	listening: _('listening'),
	no_socket: _('no socket'),
	interface_down: _('interface is down'),
	disabled: _('taken out')
};

// What a quota makes of a link; nothing is said of one that is not used up.
const STOPS = {
	soft: _('its quota is used up: a backup'),
	hard: _('its quota is used up: it carries no data')
};

const LINK_STEPS = {
	lossy: _('The tunnel uses it only while no better link is up. See what else loads this line, or raise loss_tolerance.'),
	slow: _('The tunnel uses it only while no better link is up. See what else loads this line, or raise latency_tolerance.'),
	silent: _('See whether the line still works; the link comes back by itself when the other end answers.'),
	connecting: _('See that the server runs, that its address and port are right, and that UDP to it is not blocked.'),
	no_socket: _('See that the interface named in the settings exists and has an address.'),
	interface_down: _('Bring the interface up under Network, Interfaces; the link follows by itself.')
};

// Reasons of drops that a user can do something about.
const DROP_STEPS = {
	unauthentic: _('Packets arrive that were sealed with another key: compare the keys or the secret of both ends.'),
	not_allowed: _('Packets come from or go to addresses that no peer may use: check allowed_ips on the server.'),
	too_big: _('Packets are longer than the tunnel takes: leave mtu unset, or set a smaller one on both ends.'),
	queue_full: _('More is sent than the links carry: that is usual while a transfer runs, and slows it to what fits.')
};

// What ubusd or rpcd said, by what it means; see ubus_msg_status and rpcd's JSON-RPC errors.
function meaning(error) {
	const text = (error && error.message) || String(error);

	if (/error -32000\b|ubus code (2|3|4)\b/.test(text))
		return 'absent';

	return (/error -32002\b|ubus code 6\b/.test(text)) ? 'denied' : 'failed';
}

return baseclass.extend({
	tunnelState(state) {
		return TUNNEL_STATES[state] || _('The tunnel is in a state this page does not know: %s').format(state);
	},

	linkState(state) {
		return LINK_STATES[state] || String(state);
	},

	stop(stop) {
		return STOPS[stop] || null;
	},

	// How serious a link's state is, for its colour: the word stands beside it anyway.
	severity(state) {
		if (state == 'up' || state == 'listening')
			return 'good';

		return [ 'lossy', 'slow', 'connecting', 'disabled' ].includes(state) ? 'fair' : 'bad';
	},

	// What is wrong and what to do about it, the most important first: pairs of sentences.
	ofStatus(status) {
		const found = [];
		const links = status.links || [];

		if (status.trouble)
			found.push([
				_('The other end does not agree: %s').format(status.trouble),
				_('Compare the keys or the secret of both ends, and the protocol.')
			]);

		links.forEach(link => {
			const step = LINK_STEPS[link.state];

			if (step)
				found.push([ '%s: %s'.format(link.name, link.reason || this.linkState(link.state)), step ]);

			if ((link.policy || {}).stop == 'hard')
				found.push([
					'%s: %s'.format(link.name, this.stop('hard')),
					_('It is used again when the next day or month begins, or when its quota is raised under Settings.')
				]);
		});

		if (!links.length)
			found.push([ _('The tunnel has no links.'), _('Add a link for each interface under Settings.') ]);

		return found.concat(this.ofDrops(status));
	},

	ofDrops(status) {
		const packets = (status.sent_bytes + status.received_bytes) / USUAL_PACKET;

		return Object.keys(DROP_STEPS).filter(reason => (status.drops || {})[reason] > Math.max(10, packets * MANY_DROPS))
			.map(reason => [ _('%d packets were dropped (%s).').format(status.drops[reason], reason), DROP_STEPS[reason] ]);
	},

	// Why there is no answer. `service` is procd's answer about the service, if there is one.
	ofFailure(error, service) {
		switch (meaning(error)) {
		case 'denied':
			return [
				_('This login may not see the tunnel.'),
				_('Log in as somebody with access to luci-app-mlvpn-status.')
			];

		case 'failed':
			return [ _('The daemon does not answer: %s').format((error && error.message) || error), _('The page tries again.') ];
		}

		const instances = Object.values((service && service.instances) || {});
		const ended = instances.find(instance => !instance.running && instance.exit_code != null);

		if (!instances.length)
			return [
				_('The service is not running.'),
				_('Enable a tunnel under Settings, then start the service: /etc/init.d/mlvpn start')
			];

		if (ended)
			return [
				_('The service ended with status %d.').format(ended.exit_code),
				_('The log says why: logread -e mlvpn. To check the configuration: /etc/init.d/mlvpn check')
			];

		return [ _('The service runs, but is not on the bus yet.'), _('The page tries again.') ];
	},

	// The facts behind the sentence about the tunnel.
	facts(status) {
		const facts = [
			[ _('Device'), '%s, MTU %d'.format(status.device, status.mtu) ],
			[ _('Protocol'), [ status.protocol, status.session && status.session.cipher ].filter(Boolean).join(', ') ],
			[ _('Role'), status.mode == 'server' ? _('server') : _('client') ],
			[ _('Server'), status.server ],
			[ _('Connected for'), status.connected_ms == null ? null : units.duration(status.connected_ms) ],
			[ _('Sent'), '%s (%s)'.format(units.rate(status.sent_bytes_per_sec), units.volume(status.sent_bytes)) ],
			[ _('Received'), '%s (%s)'.format(units.rate(status.received_bytes_per_sec), units.volume(status.received_bytes)) ],
			[ _('Held back to restore order'), _('%d packets').format(status.reordering) ],
			[ _('Lost and sent again'), status.repairs ? _('%d packets').format(status.repairs.resent) : null ],
			[ _('Version'), status.version ]
		];

		return facts.filter(fact => fact[1] != null && fact[1] !== '');
	}
});
