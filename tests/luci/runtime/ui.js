// SPDX-License-Identifier: BSD-2-Clause
'use strict';
'require baseclass';
'require dom';
'require rpc';

const callApply = rpc.declare({ object: 'uci', method: 'apply', params: [ 'timeout', 'rollback' ], reject: true });

return baseclass.extend({
	instantiateView(name) {
		return L.require('view.%s'.format(name.replaceAll('/', '.')));
	},

	// While a handler's promise is open, its button can't be used again.
	createHandlerFn(context, fn, ...args) {
		const handler = typeof(fn) == 'function' ? fn : context[fn];

		return ev => {
			const button = ev.currentTarget;

			button.disabled = true;

			return Promise.resolve(handler.call(context, ...args, ev)).finally(() => { button.disabled = false; });
		};
	},

	addNotification(title, children, ...classes) {
		const node = E('div', { 'class': [ 'alert-message', ...classes ].join(' ') }, [ ...(title ? [ E('h4', {}, [ title ]) ] : []) ]);

		dom.append(node, children);
		document.getElementById('maincontent').prepend(node);

		return node;
	},

	showModal(title, children, ...classes) {
		this.hideModal();
		document.body.append(E('div', { 'id': 'modal_overlay' }, [
			E('div', { 'class': [ 'modal', ...classes ].join(' ') }, [ E('h4', {}, [ title ]), ...[].concat(children) ])
		]));
	},

	hideModal() {
		document.getElementById('modal_overlay')?.remove();
	},

	changes: { apply: () => callApply(90, true) }
});
