/* SPDX-License-Identifier: Apache-2.0
 *
 * The harness is the sandbox's own: fumehood doctor --self-test is made of it as well.
 */
#include "sandbox/outside/harness.h"
