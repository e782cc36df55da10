// SPDX-License-Identifier: BSD-2-Clause
// A stand-in for LuCI's runtime, for tests: what the application uses of its documented API, with the same effects on the
// page, so that the same tests run against LuCI itself. Where LuCI takes text for markup, so does this.
'use strict';

(function() {
	class Base {
		static extend(members) {
			const Parent = this;
			const Child = class extends Parent {};

			Object.entries(members).forEach(([ name, member ]) => Object.defineProperty(Child.prototype, name,
				{ value: member, writable: true, configurable: true, enumerable: false }));

			return Child;
		}

		constructor(...args) {
			if (this.__init__)
				this.__init__(...args);
		}

		super(name, args) {
			let proto = Object.getPrototypeOf(this);

			while (!Object.hasOwn(proto, name))
				proto = Object.getPrototypeOf(proto);

			return Object.getPrototypeOf(proto)[name].apply(this, args || []);
		}
	}

	String.prototype.format = function(...args) {
		let at = 0;

		return this.replace(/%([%sd])/g, (_, kind) => {
			if (kind == '%')
				return '%';

			const arg = args[at++];

			return kind == 'd' ? String(Math.floor(Number(arg) || 0)) : String(arg ?? '');
		});
	};

	window._ = (text, context) => (window.TR || {})[context ? '%s\u0004%s'.format(context, text) : text] || text;

	const instances = new WeakMap();

	const dom = {
		elem: what => what instanceof Node,

		attr(node, name, value) {
			const entries = typeof(name) == 'object' ? Object.entries(name) : [ [ name, value ] ];

			entries.forEach(([ key, value ]) => {
				if (typeof(value) == 'function')
					node.addEventListener(key, value);
				else if (value == null)
					node.removeAttribute(key);
				else
					node.setAttribute(key, typeof(value) == 'object' ? JSON.stringify(value) : value);
			});
		},

		append(node, children) {
			if (Array.isArray(children))
				children.filter(child => child != null).forEach(child =>
					node.appendChild(dom.elem(child) ? child : document.createTextNode(String(child))));
			else if (dom.elem(children))
				node.appendChild(children);
			else if (children != null)
				node.innerHTML = String(children);

			return node.lastChild;
		},

		content(node, children) {
			node.replaceChildren();

			return dom.append(node, children);
		},

		create(what, attributes, children) {
			if (!children && (Array.isArray(attributes) || typeof(attributes) == 'string' || dom.elem(attributes)))
				[ attributes, children ] = [ null, attributes ];

			const node = Array.isArray(what) ? document.createDocumentFragment() : document.createElement(what);

			if (Array.isArray(what))
				children = what.concat(attributes || [], children || []);
			else if (attributes)
				dom.attr(node, attributes);

			dom.append(node, children);

			return node;
		},

		bindClassInstance: (node, instance) => instances.set(node, instance),
		findClassInstance: node => node && (instances.get(node) || dom.findClassInstance(node.parentNode))
	};

	window.E = dom.create;

	const poll = {
		tasks: [],

		add(fn, seconds) {
			this.tasks.push(fn);
			setInterval(() => Promise.resolve(fn()).catch(error => console.error(error)), seconds * 1000);
		}
	};

	const request = {
		get: url => fetch(url).then(answer => answer.text().then(text => ({
			ok: answer.ok, status: answer.status, json: () => JSON.parse(text), text: () => text
		})))
	};

	const View = Base.extend({
		__init__() {
			const place = document.getElementById('view');

			Promise.resolve(this.load ? this.load() : null).then(loaded => this.render(loaded)).then(nodes => {
				dom.content(place, nodes);
				dom.append(place, [ this.footer(place) ]);
			}).catch(error => { console.error(error); });
		},

		footer(place) {
			if (!this.handleSave)
				return E([]);

			const map = dom.findClassInstance(place.querySelector('.cbi-map'));
			const readonly = (map ? map.readonly : !L.hasViewPermission()) || null;
			const button = (kind, title, what) => E('button',
				{ 'class': 'cbi-button cbi-button-%s'.format(kind), 'disabled': readonly, 'click': () => this[what]() }, [ title ]);

			return E('div', { 'class': 'cbi-page-actions' }, [
				button('apply', _('Save & Apply'), 'handleSaveApply'), button('save', _('Save'), 'handleSave')
			]);
		},

		save() {
			const maps = [ ...document.querySelectorAll('.cbi-map') ].map(node => dom.findClassInstance(node));

			return Promise.all(maps.filter(Boolean).map(map => map.save()));
		},

		handleSave() {
			return this.save().catch(() => {});
		},

		handleSaveApply() {
			return this.save().then(() => L.loaded.ui.changes.apply()).catch(() => {});
		}
	});

	const builtin = { baseclass: Base, dom, poll, request, view: View };

	// Runs a class's file, with what its first strings ask for.
	function evaluate(text, url) {
		const names = [ ...text.matchAll(/^'require ([\w.]+)(?: as (\w+))?';$/gm) ]
			.map(found => [ found[1], found[2] || found[1].replace(/\W/g, '_') ]);

		return Promise.all(names.map(([ name ]) => window.L.require(name))).then(classes => {
			const run = new Function(...names.map(([ , as ]) => as), text + '\n//# sourceURL=' + url);
			const Found = run(...classes);

			return new Found();
		});
	}

	window.LuCI = class {
		constructor(env) {
			this.env = env;
			this.loading = {};
			this.loaded = {};
		}

		resource(path) {
			return '%s/%s'.format(this.env.resource, path);
		}

		require(name) {
			if (builtin[name])
				return Promise.resolve(builtin[name]);

			const url = this.resource('%s.js'.format(name.replaceAll('.', '/')));

			return this.loading[name] ??= request.get(url).then(answer => {
				if (!answer.ok)
					throw new Error('%s is not there'.format(url));

				return evaluate(answer.text(), url);
			}).then(instance => this.loaded[name] = instance);
		}

		resolveDefault(promise, value) {
			return Promise.resolve(promise).catch(() => value);
		}

		hasViewPermission() {
			return this.env.nodespec.satisfied ? !this.env.nodespec.readonly : null;
		}
	};
})();
