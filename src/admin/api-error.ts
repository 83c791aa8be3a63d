import type { FastifyReply } from 'fastify';

/** Answers with an error. Every error of the API has this shape: `{ error: { code, message, … } }`. */
export function sendError(reply: FastifyReply, status: number, code: string, message: string, more: object = {}): void {
  reply.code(status).send({ error: { code, message, ...more } });
}
