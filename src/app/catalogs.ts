import { registries } from '../discovery/catalog.ts';
import { probes } from '../health/catalog.ts';
import { ejectionOptions } from '../health/ejection-options.ts';
import { middleware } from '../middleware/catalog.ts';
import { schedulers } from '../scheduling/catalog.ts';

/** evenkeel's own kinds: what a document may name when nobody added to them. */
export const catalogs = { schedulers, registries, probes, middleware, ejection: ejectionOptions };
