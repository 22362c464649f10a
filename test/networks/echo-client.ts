/**
 * A client of echo-guest.ts, driven from stdin; answers are printed after the number of the command.
 *
 *   NUMBER udp TEXT       asks once, and again every so often until an answer to this text has come
 *   NUMBER send TEXT      asks once and waits for nothing
 *   NUMBER heard          all that UDP has brought so far
 *   NUMBER connect        a new TCP connection
 *   NUMBER tcp TEXT       asks on it: the answer, or the error by which the connection ended
 *
 * node test/networks/echo-client.ts ADDRESS PORT
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { errorText } from '../../proto/errors.ts';
import { MessageSplitter, withLength } from '../../proto/message-stream.ts';

const AGAIN_MS = 100;
const [address = '', portText = ''] = process.argv.slice(2);
const port = Number(portText);
const datagrams = createSocket('udp4');
const heard: string[] = [];
datagrams.on('message', (bytes) => heard.push(bytes.toString()));
let stream: Socket | undefined;

async function askByDatagram(text: string): Promise<string> {
  const find = (): string | undefined => heard.find((answer) => answer.endsWith(` ${text}`));
  const again = setInterval(() => datagrams.send(text, port, address), AGAIN_MS);
  datagrams.send(text, port, address);
  while (find() === undefined) await once(datagrams, 'message');
  clearInterval(again);
  return find() ?? '';
}

async function connectAgain(): Promise<string> {
  stream?.destroy();
  stream = connect(port, address);
  await once(stream, 'connect');
  // What happens between two questions is told at the next one.
  stream.on('error', () => {});
  return 'connected';
}

async function askByStream(text: string): Promise<string> {
  if (stream === undefined || stream.destroyed) return 'not connected';
  const splitter = new MessageSplitter(2048);
  const { promise, resolve } = Promise.withResolvers<string>();
  stream.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  stream.on('data', (bytes) => {
    splitter.push(bytes);
    const message = splitter.next();
    if (typeof message !== 'string') resolve(message.toString());
  });
  stream.write(withLength(Buffer.from(text)));
  const answer = await promise;
  stream.removeAllListeners('data');
  return answer;
}

const commands: Readonly<Record<string, (text: string) => string | Promise<string>>> = {
  udp: askByDatagram,
  send: (text) => {
    datagrams.send(text, port, address);
    return 'sent';
  },
  heard: () => heard.join(','),
  connect: connectAgain,
  tcp: askByStream,
};

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const [number, command = '', text = ''] = line.split(' ');
  const answer = await Promise.resolve(commands[command]?.(text)).catch(errorText);
  process.stdout.write(`${number}: ${answer}\n`);
}
process.exit(0);
