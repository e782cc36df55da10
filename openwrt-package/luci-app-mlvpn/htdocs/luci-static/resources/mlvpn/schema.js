// SPDX-License-Identifier: BSD-2-Clause
'use strict';
'require baseclass';
'require form';
'require request';
'require uci';
'require mlvpn.values as values';

// What an option is called on the page; one without stands there under its own name.
const TITLES = {
	enabled: _('Enabled'),
	enable: _('Enabled'),
	mode: _('Role'),
	protocol: _('Protocol'),
	server: _('Server'),
	host: _('Server'),
	public_key: _('Public key of the other end'),
	secret: _('Shared secret'),
	secret_file: _('File of the shared secret'),
	port: _('Port'),
	firstport: _('First port'),
	private_key: _('Private key'),
	private_key_file: _('File of the private key'),
	password: _('Password'),
	password_file: _('File of the password'),
	device: _('Device'),
	interface_name: _('Device'),
	tuntap: _('Kind of device'),
	offload: _('Many packets at once'),
	cleartext_data: _('Send data unencrypted'),
	timeout: _('Timeout'),
	reorder_buffer_size: _('Reorder buffer'),
	loss_tolerance: _('Tolerated loss'),
	latency_tolerance: _('Tolerated round trip'),
	ip4: _('IPv4 address'),
	ip6: _('IPv6 address'),
	ip4_gateway: _('IPv4 gateway'),
	ip6_gateway: _('IPv6 gateway'),
	ip4_routes: _('IPv4 routes'),
	ip6_routes: _('IPv6 routes'),
	mtu: _('MTU'),
	tunnel: _('Tunnel'),
	interface: _('Interface'),
	bindhost: _('Local address'),
	bindport: _('Local port'),
	rate_up: _('Upload rate'),
	rate_down: _('Download rate'),
	backup: _('Backup'),
	weight: _('Weight'),
	tier: _('Tier'),
	metered: _('Metered'),
	quota_day_soft: _('Daily quota, soft'),
	quota_day_hard: _('Daily quota, hard'),
	quota_month_soft: _('Monthly quota, soft'),
	quota_month_hard: _('Monthly quota, hard'),
	quota_month_start: _('Month begins on day'),
	allowed_ips: _('Networks'),
	proto: _('IP protocols'),
	dscp: _('DSCP'),
	link: _('Link'),
	duplicate: _('Send twice'),
	interactive: _('Interactive')
};

let table = null;

return baseclass.extend({
	// The options by kind of section, as the daemon's build wrote them down.
	load() {
		return request.get(L.resource('mlvpn/options.json')).then(answer => {
			table = answer.json();

			return table;
		});
	},

	// The options of a kind of section that have an effect.
	namesOf(kind) {
		return Object.keys(table[kind]).filter(name => !table[kind][name].later);
	},

	// Whether a section of this kind can say anything that has an effect.
	isInUse(kind) {
		return this.namesOf(kind).some(name => name != 'enabled' && name != 'tunnel');
	},

	// Adds the option to the section (to its tab, if there is one) and returns it. `networks` are names to choose from.
	add(section, kind, name, tab, networks) {
		const option = table[kind][name];
		const widget = option.list ? form.DynamicList
			: option.type == 'flag' ? form.Flag
			: [ 'choice', 'network', 'section' ].includes(option.type) ? form.ListValue : form.Value;
		const title = TITLES[name] || name;
		const o = tab ? section.taboption(tab, widget, name, title, this.describe(option))
			: section.option(widget, name, title, this.describe(option));

		o.rmempty = true;
		o.optional = !option.required;
		o.password = !!option.secret;
		this.fill(o, option, kind, networks);
		o.validate = (section_id, value) => this.check(option, value);

		return o;
	},

	describe(option) {
		const after = option.default_in_words ? _('Default: %s').format(_(option.default_in_words)) : '';

		return [ _(option.help), after ].filter(Boolean).join('. ');
	},

	// What can be chosen, and what there is when nothing was.
	fill(o, option, kind, networks) {
		if (option.type == 'flag') {
			o.default = option.default;
		}
		else if (option.type == 'choice') {
			option.choices.forEach(choice => o.value(choice));
			o.default = option.default;
			// What the daemon takes for said anyway need not stand in the file.
			o.write = (section_id, value) => value === option.default ? o.remove(section_id)
				: form.ListValue.prototype.write.call(o, section_id, value);
		}
		else if (option.type == 'network' || option.type == 'section') {
			const names = option.type == 'network' ? networks || []
				: uci.sections('mlvpn', o.option == 'link' ? 'link' : 'tunnel').map(section => section['.name']);
			const known = uci.sections('mlvpn', kind).map(section => section[o.option]).filter(Boolean);

			o.value('', '(%s)'.format(_(option.default_in_words || 'any')));
			// What the file names stays, even if it is not there just now.
			[ ...new Set([ ...names, ...known ]) ].forEach(name => o.value(name));
		}
		else if (option.default != null) {
			o.placeholder = option.default;
		}
	},

	check(option, value) {
		if (value == null || value === '' || values.isValid(option, value))
			return true;

		return _('Expected: %s').format(_(option.expected));
	}
});
