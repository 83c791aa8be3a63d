import type { ServiceRef } from './registry.ts';

/** Puts a service into a path template: `{service}` and `{datacenter}`. Slashes in a service's name are kept: they lead further down. */
export function servicePath(template: string, { name, datacenter }: ServiceRef): string {
  const path = template.replaceAll('{service}', () => name).replaceAll('{datacenter}', () => datacenter ?? '');
  return path.replaceAll(/\/{2,}/g, '/');
}

/** Whether a template can stand in a document: it begins with a slash and has a place for the service. */
export function isServicePath(template: string): boolean {
  return template.startsWith('/') && template.includes('{service}');
}
