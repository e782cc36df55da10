// SPDX-License-Identifier: BSD-2-Clause
'use strict';
'require baseclass';
'require uci';

return baseclass.extend({
	getNetworks() {
		return uci.load('network').then(() => uci.sections('network', 'interface').map(section => ({ getName: () => section['.name'] })));
	}
});
