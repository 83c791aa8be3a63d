/** Entry of a child process: our own registry server. Arguments: the address to bind and the data directory; prints the port. */
import { systemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/random.ts';
import { RegistryServer } from '../../src/discovery/embedded/server.ts';

const [bind, data] = process.argv.slice(2);
const server = new RegistryServer({ bind, data }, { clock: systemClock, random: systemRandom, log: () => {} });
await server.start();
process.stdout.write(`${server.address.port}\n`);
