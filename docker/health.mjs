/**
 * The health check of a container: does its service answer a question? Without the project's own client,
 * because a check runs again and again in every container and has to cost little. It asks only the container
 * itself: a host whose coordinator is away is well, and a swarm that ended it for that would end its guests.
 */
import { connect } from 'node:http2';

const SERVICES = {
  coordinator: { port: 7070, path: '/godwit.v1.CoordinatorService/ListHosts', status: '0' },
  // Of a guest without a name, which is not found: an answer, and nothing changes by it.
  host: { port: 7071, path: '/godwit.v1.HostService/GetGuestStats', status: '5' },
};

const { port, path, status: healthy } = SERVICES[process.argv[2]];
const session = connect(`http://127.0.0.1:${port}`);
const request = session.request({
  ':method': 'POST',
  ':path': path,
  'content-type': 'application/grpc',
  te: 'trailers',
});
const end = (problem) => {
  if (problem !== undefined) process.stderr.write(`${path}: ${problem}\n`);
  process.exit(problem === undefined ? 0 : 1);
};
const check = (headers) => {
  const status = headers['grpc-status'];
  if (status !== undefined) end(status === healthy ? undefined : `grpc-status ${status}`);
};
session.on('error', (error) => end(error.message));
request.on('error', (error) => end(error.message));
request.on('response', check);
request.on('trailers', check);
request.on('close', () => end('no answer'));
request.resume();
// An empty message of gRPC: not compressed, of length 0.
request.end(Buffer.alloc(5));
