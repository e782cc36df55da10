// SPDX-License-Identifier: BSD-2-Clause
'use strict';
'require view';
'require form';
'require network';
'require rpc';
'require uci';
'require ui';
'require mlvpn.firewall as firewall';
'require mlvpn.schema as schema';

const callKeygen = rpc.declare({ object: 'mlvpn', method: 'keygen', params: [ 'private_key' ], reject: true });

// Where each option of a tunnel stands; what is not named here stands under Advanced.
const TABS = {
	general: [ 'enabled', 'mode', 'protocol', 'server', 'port' ],
	secrets: [ 'private_key', 'public_key', 'secret', 'password', 'private_key_file', 'secret_file', 'password_file' ],
	addresses: [ 'ip4', 'ip6', 'ip4_gateway', 'ip6_gateway', 'ip4_routes', 'ip6_routes' ]
};

// What of a link and of a peer stands in the table; the rest is behind Edit.
const COLUMNS = { link: [ 'enabled', 'interface', 'rate_up', 'backup' ], peer: [ 'enabled', 'server', 'allowed_ips' ] };

const ROLE_OPTIONS = { port: 'server', server: 'client' };

// The public key of a private one; the daemon knows how.
function publicKey(privateKey) {
	return privateKey ? callKeygen(privateKey).then(keys => keys.public_key) : Promise.resolve(null);
}

return view.extend({
	load() {
		return Promise.all([
			network.getNetworks(), schema.load(), uci.load('mlvpn'), L.resolveDefault(uci.load('firewall'), null)
		]);
	},

	render([ networks ]) {
		const names = networks.map(network => network.getName()).filter(name => name != 'loopback');
		const map = new form.Map('mlvpn', _('MLVPN'),
			_('Bonds several internet links into one sealed tunnel. Each link leaves through an interface of this router.'));

		this.tunnels(map);
		this.parts(map, 'link', _('Links'), _('The lines the tunnel uses. A link that only has a name uses the interface of that name.'), names);
		this.parts(map, 'peer', _('Peers'),
			_('On a server the clients that may connect; on a client servers, of which the first that answers is used.'), names);

		if (schema.isInUse('class'))
			this.parts(map, 'class', _('Classes'), _('What is to be done with certain packets.'), names);

		if (uci.sections('mlvpn', 'mlvpn').length)
			this.openmptcprouter(map);

		return map.render().then(node => E('div', { 'class': 'mlvpn-settings' }, [
			E('link', { 'rel': 'stylesheet', 'href': L.resource('mlvpn/mlvpn.css') }), node
		]));
	},

	tunnels(map) {
		const section = map.section(form.TypedSection, 'tunnel', _('Tunnel'));

		section.addremove = true;
		section.anonymous = false;
		section.tab('general', _('General'));
		section.tab('secrets', _('Keys'));
		section.tab('addresses', _('Addresses'));
		section.tab('advanced', _('Advanced'));

		const first = Object.values(TABS).flat();
		const names = schema.namesOf('tunnel');

		[ ...first.filter(name => names.includes(name)), ...names.filter(name => !first.includes(name)) ].forEach(name => {
			const tab = Object.keys(TABS).find(tab => TABS[tab].includes(name)) || 'advanced';
			const option = schema.add(section, 'tunnel', name, tab);

			if (ROLE_OPTIONS[name])
				option.depends('mode', ROLE_OPTIONS[name]);

			if (name == 'private_key')
				this.keys(section);
		});

		if (uci.sections('firewall').length)
			firewall.addTo(section, 'general');
	},

	// A button that makes a key, and the public key that the other end needs.
	keys(section) {
		const button = section.taboption('secrets', form.Button, '_keygen', _('New key'),
			_('Replaces the private key; the other end then needs the new public key.'));
		const shown = section.taboption('secrets', form.DummyValue, '_public_key', _('Public key of this end'),
			_('The other end needs it as public_key.'));

		shown.load = section_id => L.resolveDefault(publicKey(uci.get('mlvpn', section_id, 'private_key')), null)
			.then(key => key || _('none yet'));
		button.inputtitle = _('Make a new key');
		button.inputstyle = 'apply';
		button.onclick = (ev, section_id) => callKeygen(null).then(keys => {
			section.getUIElement(section_id, 'private_key').setValue(keys.private_key);
			section.getUIElement(section_id, 'private_key').triggerValidation();
			ui.addNotification(_('A new key was made'), E('p', {}, [
				_('It counts when the settings are saved. The other end needs this public key:'), ' ', E('code', {}, [ keys.public_key ])
			]), 'info');
		}).catch(error => ui.addNotification(_('No key was made'), E('p', {}, [
			_('The daemon makes keys while it runs (%s). By hand: mlvpn keygen').format(error.message)
		]), 'danger'));
	},

	parts(map, kind, title, description, names) {
		const section = map.section(form.GridSection, kind, title, description);

		section.addremove = true;
		section.anonymous = false;
		section.nodescriptions = true;
		schema.namesOf(kind).forEach(name => {
			const option = schema.add(section, kind, name, null, names);

			// `false` would keep an option out of the dialogue; `null` shows it in both.
			option.modalonly = (COLUMNS[kind] || [ 'enabled' ]).includes(name) ? null : true;
			option.editable = name == 'enabled';
			if (name == 'interface')
				// A link without one uses that of its own name.
				option.textvalue = section_id => option.cfgvalue(section_id) || section_id;
		});
	},

	openmptcprouter(map) {
		const section = map.section(form.TypedSection, 'mlvpn', _('OpenMPTCProuter'),
			_('The tunnel as OpenMPTCProuter writes it; its links are the interfaces with multipath.'));

		section.addremove = false;
		section.anonymous = false;
		schema.namesOf('mlvpn').forEach(name => schema.add(section, 'mlvpn', name));
	}
});
