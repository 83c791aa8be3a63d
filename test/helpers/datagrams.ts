import { type RunningProcess, startProcess } from './processes.ts';

/** Prints each datagram that comes to a local socket; Node has no such sockets. */
const PROGRAM = `
use IO::Socket::UNIX; use Socket; $| = 1;
my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die "$!";
print "listening\\n";
while (defined(recv($socket, my $text, 65536, 0))) { print "<$text>\\n"; }
`;

/** A local datagram socket of a test's own, as systemd gives one to a service. Needs perl. */
export interface Datagrams extends AsyncDisposable {
  /** Everything that came, in order, but for the barrier that systemd-notify waits at. */
  readonly all: readonly string[];
}

export async function listenToDatagrams(perl: string, path: string): Promise<Datagrams> {
  const child: RunningProcess = await startProcess(perl, ['-e', PROGRAM, path], { ready: 'listening' });
  return {
    get all() {
      return [...child.stdout.matchAll(/<([^>]*)>/g)].map(([, text]) => text).filter((text) => text !== 'BARRIER=1');
    },
    [Symbol.asyncDispose]: async () => void (await child.stop(0)),
  };
}
