// SPDX-License-Identifier: BSD-2-Clause
'use strict';
'require baseclass';

const TEXTS = { 2: 'Invalid argument', 3: 'Method not found', 4: 'Resource not found', 6: 'Permission denied', 7: 'Request timed out' };

let next = 1;

return baseclass.extend({
	declare(options) {
		return (...args) => {
			const named = Object.fromEntries((options.params || []).map((name, at) => [ name, args[at] ]).filter(([ , value ]) => value != null));
			const where = '%s/%s'.format(options.object, options.method);
			const message = { jsonrpc: '2.0', id: next++, method: 'call', params: [ L.env.sessionid, options.object, options.method, named ] };

			return fetch(L.env.ubuspath, { method: 'POST', body: JSON.stringify(message) }).then(answer => answer.json()).then(reply => {
				if (reply.error)
					throw new Error('RPC call to %s failed with error %d: %s'.format(where, reply.error.code, reply.error.message));

				const [ code, data ] = reply.result;

				if (options.reject && code !== 0)
					throw new Error('RPC call to %s failed with ubus code %d: %s'.format(where, code, TEXTS[code] || 'Unknown error'));

				return this.expected(options.expect, reply.result.length > 1 ? data : code);
			});
		};
	},

	expected(expect, data) {
		for (const key in expect || {}) {
			const value = data != null && key !== '' ? data[key] : data;

			return value == null || typeof(value) != typeof(expect[key]) ? expect[key] : value;
		}

		return data;
	}
});
