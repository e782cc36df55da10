// SPDX-License-Identifier: BSD-2-Clause
'use strict';
'require baseclass';
'require rpc';

const call = (method, params) => rpc.declare({ object: 'uci', method, params, reject: true });
const callGet = call('get', [ 'config' ]);
const callAdd = call('add', [ 'config', 'type', 'name', 'values' ]);
const callSet = call('set', [ 'config', 'section', 'values' ]);
const callDelete = call('delete', [ 'config', 'section', 'options' ]);

// What was loaded, and what was changed since: calls to make, in order.
const packages = {};
let pending = [];

return baseclass.extend({
	load(name) {
		return packages[name] ? Promise.resolve() : callGet(name).then(answer => { packages[name] = answer.values; });
	},

	sections(config, type) {
		return Object.values(packages[config] || {}).filter(section => !type || section['.type'] == type)
			.sort((a, b) => a['.index'] - b['.index']);
	},

	get(config, name, option) {
		const section = (packages[config] || {})[name];

		return section && option ? section[option] : section || null;
	},

	set(config, name, option, value) {
		packages[config][name][option] = value;
		pending.push(() => callSet(config, name, { [option]: value }));
	},

	unset(config, name, option) {
		if (this.get(config, name, option) == null)
			return;

		delete packages[config][name][option];
		pending.push(() => callDelete(config, name, [ option ]));
	},

	add(config, type, name) {
		packages[config][name] = { '.name': name, '.type': type, '.index': Object.keys(packages[config]).length };
		pending.push(() => callAdd(config, type, name, {}));

		return name;
	},

	remove(config, name) {
		delete packages[config][name];
		pending.push(() => callDelete(config, name, null));
	},

	save() {
		const todo = pending;

		pending = [];

		return todo.reduce((done, one) => done.then(one), Promise.resolve());
	}
});
