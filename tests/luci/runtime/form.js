// SPDX-License-Identifier: BSD-2-Clause
'use strict';
'require baseclass';
'require dom';
'require rpc';
'require uci';
'require ui';

const callAccess = rpc.declare({ object: 'session', method: 'access', params: [ 'scope', 'object', 'function' ], expect: { access: false } });

// A widget: how to read and write the element that the user sees.
class Element {
	constructor(node, read, write) {
		Object.assign(this, { node, getValue: read, setValue: write, triggerValidation: () => this.validate && this.validate() });
	}
}

const Value = baseclass.extend({
	__init__(map, section, option, title, description) {
		Object.assign(this, { map, section, option, title, description, keylist: [], vallist: [], deps: [], rmempty: true });
	},

	value(key, text) {
		this.keylist.push(String(key));
		this.vallist.push(String(text ?? key));
	},

	depends(option, value) {
		this.deps.push([ option, value ]);
	},

	load(section_id) {
		return this.cfgvalue(section_id);
	},

	cfgvalue(section_id) {
		return uci.get(this.map.config, section_id, this.option);
	},

	textvalue(section_id) {
		return this.cfgvalue(section_id);
	},

	write(section_id, value) {
		uci.set(this.map.config, section_id, this.option, value);
	},

	remove(section_id) {
		uci.unset(this.map.config, section_id, this.option);
	},

	elements() {
		return this.shown ??= {};
	},

	isShown(section_id) {
		const of = name => this.section.children.find(option => option.option == name).elements()[section_id]?.getValue();

		return !this.deps.length || this.deps.some(([ name, value ]) => of(name) == value);
	},

	widget(section_id, value) {
		const input = E('input', {
			'type': this.password ? 'password' : 'text', 'class': 'cbi-input-text', 'value': value ?? '',
			'placeholder': this.placeholder ?? null, 'disabled': this.map.readonly || null
		});

		return new Element(input, () => input.value, text => { input.value = text; });
	},

	// The row of the form for one section, in a promise.
	row(section_id) {
		return Promise.resolve(this.load(section_id)).then(value => {
			const element = this.widget(section_id, value);
			const id = '%s-%s-%s'.format(this.map.config, section_id, this.option);
			const frame = E('div', { 'class': 'cbi-value', 'id': 'cbi-%s'.format(id), 'data-name': this.option }, [
				E('label', { 'class': 'cbi-value-title' }, [ this.title ]),
				E('div', { 'class': 'cbi-value-field' }, [ element.node, E('div', { 'class': 'cbi-value-description' }, this.description || '') ])
			]);

			element.validate = () => this.judge(section_id, element, frame);
			element.node.addEventListener('input', element.validate);
			element.node.addEventListener('change', () => { element.validate(); this.section.showHide(section_id); });
			this.elements()[section_id] = element;
			this.frames = { ...this.frames, [section_id]: frame };

			return frame;
		});
	},

	judge(section_id, element, frame) {
		const values = [].concat(element.getValue() ?? '');
		const verdict = values.map(value => this.validate ? this.validate(section_id, value) : true).find(found => found !== true) ?? true;

		element.node.classList.toggle('cbi-input-invalid', verdict !== true);
		frame.setAttribute('data-error', verdict === true ? '' : verdict);
		element.node.setAttribute('data-tooltip', verdict === true ? '' : verdict);

		return verdict === true;
	},

	parse(section_id) {
		const element = this.elements()[section_id];

		if (!element)
			return;

		if (!this.isShown(section_id))
			return this.remove(section_id);

		if (!element.validate())
			throw new TypeError('%s is invalid'.format(this.option));

		const value = element.getValue();
		const isEmpty = value == null || value.length == 0 || (this.rmempty && value === this.default);

		if (isEmpty)
			this.remove(section_id);
		else if (String(value) !== String(this.cfgvalue(section_id)))
			this.write(section_id, value);
	}
});

const Flag = Value.extend({
	widget(section_id, value) {
		const input = E('input', { 'type': 'checkbox', 'disabled': this.map.readonly || null });
		const isOn = text => [ '1', 'on', 'true', 'yes', 'enabled' ].includes(text);

		input.checked = isOn(value ?? this.default ?? '0');

		return new Element(input, () => input.checked ? '1' : '0', text => { input.checked = isOn(text); });
	},

	textvalue(section_id) {
		return (this.cfgvalue(section_id) ?? this.default) == '1' ? _('Yes') : _('No');
	},

	parse(section_id) {
		const element = this.elements()[section_id];
		const value = element?.getValue();

		if (element && value !== (this.cfgvalue(section_id) ?? this.default ?? '0'))
			(this.rmempty && value === (this.default ?? '0')) ? this.remove(section_id) : this.write(section_id, value);
	}
});

const ListValue = Value.extend({
	widget(section_id, value) {
		const select = E('select', { 'disabled': this.map.readonly || null },
			this.keylist.map((key, at) => E('option', { 'value': key }, [ this.vallist[at] ])));

		select.value = value ?? this.default ?? '';

		return new Element(select, () => select.value, text => { select.value = text; });
	}
});

// One text field for each value, as LuCI's shows them while they are edited.
const DynamicList = Value.extend({
	widget(section_id, value) {
		const list = E('div', { 'class': 'cbi-dynlist' });
		const field = text => E('input', { 'type': 'text', 'value': text, 'disabled': this.map.readonly || null });

		dom.append(list, [ ...[].concat(value ?? []), '' ].map(field));

		return new Element(list, () => [ ...list.querySelectorAll('input') ].map(input => input.value).filter(Boolean),
			values => dom.content(list, values.map(field)));
	}
});

const DummyValue = Value.extend({
	widget(section_id, value) {
		return new Element(E('output', {}, [ value ?? '' ]), () => null, () => {});
	},

	parse() {}
});

const Button = Value.extend({
	widget(section_id) {
		const button = E('button', {
			'class': 'cbi-button cbi-button-%s'.format(this.inputstyle || 'button'), 'disabled': this.map.readonly || null,
			'click': ui.createHandlerFn(this, ev => this.onclick(ev, section_id))
		}, [ this.inputtitle ]);

		return new Element(E('output', {}, [ button ]), () => null, () => {});
	},

	parse() {}
});

const TypedSection = baseclass.extend({
	__init__(map, type, title, description) {
		Object.assign(this, { map, sectiontype: type, title, description, children: [], tabs: null });
	},

	tab(name, title) {
		this.tabs ??= [];

		if (this.tabs[name])
			throw new Error('Tab already declared');

		this.tabs.push(this.tabs[name] = { name, title });
	},

	option(Widget, ...args) {
		const option = new Widget(this.map, this, ...args);

		this.children.push(option);

		return option;
	},

	taboption(tab, ...args) {
		return Object.assign(this.option(...args), { tab });
	},

	cfgsections() {
		return uci.sections(this.map.config, this.sectiontype).map(section => section['.name']);
	},

	getUIElement(section_id, name) {
		return this.children.find(option => option.option == name).elements()[section_id];
	},

	showHide(section_id) {
		this.children.forEach(option => option.frames?.[section_id]?.classList.toggle('hidden', !option.isShown(section_id)));
	},

	// All options of a section, tab by tab.
	body(section_id, only) {
		const options = this.children.filter(option => !only || only(option));

		return Promise.all(options.map(option => option.row(section_id))).then(rows => {
			const node = E('div', { 'class': 'cbi-section-node', 'data-section-id': section_id });

			if (!this.tabs)
				dom.append(node, rows);
			else
				this.panes(node, options, rows);

			this.showHide(section_id);

			return node;
		});
	},

	panes(node, options, rows) {
		const panes = this.tabs.map(tab => E('div', { 'data-tab': tab.name }, rows.filter((row, at) => options[at].tab == tab.name)));
		const show = place => panes.forEach((pane, at) => { pane.style.display = at == place ? '' : 'none'; });
		const menu = this.tabs.map((tab, at) => E('li', { 'class': 'cbi-tab', 'data-tab': tab.name },
			[ E('a', { 'href': '#', 'click': ev => { ev.preventDefault(); show(at); } }, [ tab.title ]) ]));

		dom.append(node, [ E('ul', { 'class': 'cbi-tabmenu' }, menu), ...panes ]);
		show(0);
	},

	frame(contents) {
		const input = E('input', { 'type': 'text', 'class': 'cbi-section-create-name', 'disabled': this.map.readonly || null });
		const add = E('button', { 'class': 'cbi-button cbi-button-add', 'disabled': this.map.readonly || null, 'click': () => {
			uci.add(this.map.config, this.sectiontype, input.value);

			return this.map.save(true);
		} }, [ _('Add') ]);

		return E('div', { 'class': 'cbi-section', 'id': 'cbi-%s-%s'.format(this.map.config, this.sectiontype) }, [
			E('h3', {}, this.title), E('div', { 'class': 'cbi-section-descr' }, this.description || ''), ...contents,
			...(this.addremove ? [ E('div', { 'class': 'cbi-section-create' }, [ input, add ]) ] : [])
		]);
	},

	remover(section_id) {
		return E('button', { 'class': 'cbi-button', 'disabled': this.map.readonly || null, 'click': () => {
			uci.remove(this.map.config, section_id);

			return this.map.save(true);
		} }, [ _('Delete') ]);
	},

	render() {
		return Promise.all(this.cfgsections().map(section_id => this.body(section_id).then(body => [
			E('h3', {}, [ section_id.toUpperCase() ]), ...(this.addremove ? [ this.remover(section_id) ] : []), body
		]))).then(parts => this.frame(parts.flat()));
	},

	parse() {
		this.cfgsections().forEach(section_id => this.children.forEach(option => option.parse(section_id)));
	}
});

const GridSection = TypedSection.extend({
	render() {
		const columns = this.children.filter(option => !option.modalonly);
		const head = E('tr', { 'class': 'tr table-titles' }, [ E('th', { 'class': 'th' }, [ _('Name') ]),
			...columns.map(option => E('th', { 'class': 'th' }, [ option.title ])), E('th', { 'class': 'th' }) ]);
		const row = section_id => Promise.all(columns.map(option => option.editable ? option.row(section_id) : null)).then(rows =>
			E('tr', { 'class': 'tr', 'data-sid': section_id }, [
				E('td', { 'class': 'td', 'data-title': _('Name') }, [ section_id ]),
				...columns.map((option, at) => E('td', { 'class': 'td', 'data-title': option.title },
					[ rows[at] ? option.elements()[section_id].node : String(option.textvalue(section_id) ?? '-') ])),
				E('td', { 'class': 'td' }, [
					E('button', { 'class': 'cbi-button cbi-button-edit', 'click': () => this.edit(section_id) }, [ _('Edit') ]),
					this.remover(section_id)
				])
			]));

		return Promise.all(this.cfgsections().map(row)).then(rows =>
			this.frame([ E('table', { 'class': 'table cbi-section-table' }, [ head, ...rows ]) ]));
	},

	edit(section_id) {
		// Not what stands only in the table.
		return this.body(section_id, option => option.modalonly !== false).then(body => ui.showModal(section_id, [ body, E('div', { 'class': 'button-row' }, [
			E('button', { 'class': 'btn cbi-button', 'click': () => ui.hideModal() }, [ _('Dismiss') ]),
			E('button', { 'class': 'btn cbi-button cbi-button-positive', 'disabled': this.map.readonly || null, 'click': () =>
				this.map.save(true).then(() => ui.hideModal()).catch(() => {}) }, [ _('Save') ])
		]) ]));
	}
});

const Map = baseclass.extend({
	__init__(config, title, description) {
		Object.assign(this, { config, title, description, children: [] });
	},

	section(Kind, ...args) {
		const section = new Kind(this, ...args);

		this.children.push(section);

		return section;
	},

	render() {
		return Promise.all([ uci.load(this.config), callAccess('uci', this.config, 'write') ]).then(([ , mayWrite ]) => {
			this.readonly = !mayWrite;

			return this.contents();
		});
	},

	contents() {
		return Promise.all(this.children.map(section => section.render())).then(sections => {
			this.root ??= E('div', { 'class': 'cbi-map' });
			dom.content(this.root, [ E('h2', {}, this.title), E('div', { 'class': 'cbi-map-descr' }, this.description || ''), ...sections ]);
			dom.bindClassInstance(this.root, this);

			return this.root;
		});
	},

	save(isSilent) {
		return new Promise(done => { this.children.forEach(section => section.parse()); done(); }).then(() => uci.save()).then(() => this.contents())
			.catch(error => {
				if (!isSilent)
					ui.addNotification(_('Save error'), E('p', {}, [ error.message ]), 'danger');

				throw error;
			});
	}
});

return baseclass.extend({ Map, TypedSection, GridSection, Value, Flag, ListValue, DynamicList, DummyValue, Button });
