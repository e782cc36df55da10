// SPDX-License-Identifier: BSD-2-Clause
'use strict';
'require baseclass';
'require form';
'require uci';

// The same sections as /usr/lib/mlvpn/firewall makes.
const ZONE = 'mlvpn', FORWARDING = 'mlvpn_lan';

function add(device) {
	uci.add('firewall', 'zone', ZONE);
	Object.entries({
		name: ZONE, device: [ device ], input: 'REJECT', output: 'ACCEPT', forward: 'REJECT', masq: '1', mtu_fix: '1'
	}).forEach(([ name, value ]) => uci.set('firewall', ZONE, name, value));
	uci.add('firewall', 'forwarding', FORWARDING);
	uci.set('firewall', FORWARDING, 'src', 'lan');
	uci.set('firewall', FORWARDING, 'dest', ZONE);
}

return baseclass.extend({
	// Adds a check box that makes the tunnel's zone, or removes it.
	addTo(section, tab) {
		const o = section.taboption(tab, form.Flag, '_firewall', _('Firewall zone'),
			_('Lets the LAN use the tunnel: a zone mlvpn with masquerading, to which the LAN may forward'));

		o.rmempty = true;
		o.cfgvalue = () => uci.get('firewall', ZONE) ? '1' : '0';
		o.write = section_id => {
			if (!uci.get('firewall', ZONE))
				add(uci.get('mlvpn', section_id, 'device') || 'mlvpn0');
		};
		o.remove = () => {
			[ ZONE, FORWARDING ].filter(name => uci.get('firewall', name)).forEach(name => uci.remove('firewall', name));
		};

		return o;
	}
});
