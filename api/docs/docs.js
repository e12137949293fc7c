// Renders openapi.json and asyncapi.json. Everything from the documents goes in
// as text, never as HTML. Addresses are relative: the page may lie below a proxy's path.

const methods = ['get', 'post', 'put', 'patch', 'delete']

/** element makes a DOM node; children are nodes or strings. */
function element(name, attributes = {}, ...children) {
  const node = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value)
  node.append(...children.filter((c) => c !== null && c !== undefined && c !== ''))
  return node
}

/** prose turns text into paragraphs, with `code` between backticks. */
function prose(text) {
  return (text ?? '').split('\n\n').filter(Boolean).map((paragraph) =>
    element('p', {}, ...paragraph.split('`').map((part, i) => (i % 2 ? element('code', {}, part) : part))))
}

/** resolve follows a $ref within its document. */
function resolve(root, value) {
  let at = value
  for (let hops = 0; at?.$ref && hops < 10; hops++) {
    at = at.$ref.slice(2).split('/').reduce((o, key) => o?.[key.replaceAll('~1', '/').replaceAll('~0', '~')], root)
  }
  return at ?? {}
}

/** typeName says a schema's type in a few words. */
function typeName(root, schema) {
  const s = resolve(root, schema)
  if (s.oneOf) return s.oneOf.map((o) => typeName(root, o)).join(' or ')
  if (s.enum) return s.enum.map((v) => JSON.stringify(v)).join(', ')
  const types = [].concat(s.type ?? 'any')
  if (types.includes('array')) return 'array of ' + typeName(root, s.items)
  return types.join(' or ') + (s.format ? ` (${s.format})` : '')
}

/** bounds says what else a schema asks for. */
function bounds(s) {
  const said = []
  if (s.minLength !== undefined || s.maxLength !== undefined) said.push(`${s.minLength ?? 0} to ${s.maxLength ?? '…'} characters`)
  if (s.minimum !== undefined || s.maximum !== undefined) said.push(`${s.minimum ?? '…'} to ${s.maximum ?? '…'}`)
  if (s.minItems !== undefined || s.maxItems !== undefined) said.push(`${s.minItems ?? 0} to ${s.maxItems ?? '…'} entries`)
  if (s.default !== undefined) said.push(`default ${JSON.stringify(s.default)}`)
  return said.join('; ')
}

function table(head, rows) {
  return element('div', { class: 'wide' }, element('table', {},
    element('thead', {}, element('tr', {}, ...head.map((h) => element('th', { scope: 'col' }, h)))),
    element('tbody', {}, ...rows.map((row) => element('tr', {}, ...row.map((cell) => element('td', {}, ...[].concat(cell))))))))
}

/** fields lists the members of an object, or of the objects in an array. */
function fields(root, schema, depth = 0) {
  const s = resolve(root, schema)
  if (s.type === 'array') return fields(root, s.items, depth)
  if (!s.properties || depth > 3) return []
  const rows = []
  for (const [name, value] of Object.entries(s.properties)) {
    const v = resolve(root, value)
    rows.push([
      element('code', {}, '\u00a0\u00a0'.repeat(depth) + name),
      typeName(root, value),
      [(s.required ?? []).includes(name) ? '' : 'optional. ', [v.description, bounds(v)].filter(Boolean).join(' ')],
    ])
    rows.push(...fields(root, value, depth + 1))
  }
  return rows
}

/** sample builds an example of a schema from its parts' examples. */
function sample(root, schema, depth = 0) {
  const s = resolve(root, schema)
  if (s.examples?.length) return s.examples[0]
  if (s.example !== undefined) return s.example
  if (s.enum) return s.enum[0]
  if (s.oneOf) return sample(root, s.oneOf[0], depth)
  const type = [].concat(s.type)[0]
  if (type === 'array') return depth > 4 ? [] : [sample(root, s.items, depth + 1)]
  if (type === 'object') {
    if (depth > 4) return {}
    return Object.fromEntries(Object.entries(s.properties ?? {})
      .filter(([name]) => name !== '$schema')
      .map(([name, value]) => [name, sample(root, value, depth + 1)]))
  }
  return { integer: s.minimum ?? 0, number: 0, boolean: true, string: '…' }[type] ?? null
}

const pretty = (value) => element('pre', { tabindex: '0' }, JSON.stringify(value, null, 2))

/** shape shows a body: its fields and an example. */
function shape(root, title, schema) {
  if (!schema) return []
  const rows = fields(root, schema)
  return [element('h4', {}, title), rows.length ? table(['field', 'type', ''], rows) : null,
    pretty(sample(root, schema))].filter(Boolean)
}

/** curl is the call as a command line. */
function curl(root, method, path, operation) {
  const parts = [`curl -X ${method.toUpperCase()} "$FALCON_URL${path.replace(/{id}/, '42')}"`]
  if (operation.security?.length) parts.push('-H "Authorization: Bearer $FALCON_TOKEN"')
  const schema = operation.requestBody?.content?.['application/json']?.schema
  if (schema) parts.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(sample(root, schema))}'`)
  return element('pre', { tabindex: '0' }, parts.join(' \\\n  '))
}

function card(id, kind, title, summary, ...content) {
  return element('article', { id }, element('details', {},
    element('summary', {}, element('b', { class: `method ${kind}` }, kind.toUpperCase()),
      element('h3', {}, element('code', {}, title)), element('span', {}, summary ?? '')),
    element('div', {}, ...content.flat().filter(Boolean))))
}

function operationCard(root, path, method, operation) {
  const parameters = (operation.parameters ?? []).map((p) => resolve(root, p))
  const answers = Object.entries(operation.responses ?? {}).map(([status, r]) => {
    const response = resolve(root, r)
    return [element('code', {}, status), response.description ?? '',
      Object.keys(response.headers ?? {}).join(', ')]
  })
  const ok = Object.entries(operation.responses ?? {}).find(([status]) => status.startsWith('2'))?.[1]
  return card(operation.operationId, method, path, operation.summary,
    prose(operation.description),
    parameters.length ? [element('h4', {}, 'Parameters'), table(['name', 'in', 'type', ''],
      parameters.map((p) => [element('code', {}, p.name), p.in, typeName(root, p.schema), [p.description ?? '', ' ', bounds(resolve(root, p.schema))]]))] : [],
    shape(root, 'Body', operation.requestBody?.content?.['application/json']?.schema),
    shape(root, 'Answer', resolve(root, ok)?.content?.['application/json']?.schema),
    element('h4', {}, 'Statuses'), table(['status', 'when', 'headers'], answers),
    element('h4', {}, 'Try it'), curl(root, method, path, operation))
}

/** rest renders the OpenAPI document, one section a tag. */
function rest(root) {
  return (root.tags ?? []).map((tag) => {
    const cards = []
    for (const [path, item] of Object.entries(root.paths)) {
      for (const method of methods) {
        if (item[method]?.tags?.includes(tag.name)) cards.push(operationCard(root, path, method, item[method]))
      }
    }
    return { title: tag.name, nodes: [...prose(tag.description), ...cards] }
  })
}

/** mqtt renders the AsyncAPI document. */
function mqtt(root) {
  const cards = Object.entries(root.channels).map(([id, channel]) => {
    const message = resolve(root, Object.values(channel.messages ?? {})[0])
    return card('channel-' + id, 'subscribe', channel.address, channel.title, prose(channel.description),
      channel['x-subscribe'] ? [element('h4', {}, 'SUBSCRIBE'), pretty(channel['x-subscribe'])] : [],
      shape(root, 'User properties (MQTT 5)', message.headers), shape(root, 'Payload', message.payload))
  })
  const schemes = Object.entries(root.components.securitySchemes).map(([name, s]) => [name, s.description])
  const codes = root['x-reason-codes'].map((c) => [c.packet, element('code', {}, c.code), c.v3 === null ? '–' : String(c.v3), c.when])
  return [{ title: 'MQTT', nodes: [...prose(root.info.description), ...cards,
    card('mqtt-login', 'mqtt', 'CONNECT', 'Where the token goes', table(['way', ''], schemes)),
    card('mqtt-codes', 'mqtt', 'Reason codes', 'What is refused, and how', table(['packet', 'MQTT 5', '3.1.1', 'when'], codes))] }]
}

function build(sections) {
  const main = document.getElementById('content')
  const nav = document.getElementById('nav')
  for (const { title, nodes } of sections) {
    const id = 'section-' + title.toLowerCase().replaceAll(' ', '-')
    main.append(element('section', { 'aria-labelledby': id }, element('h2', { id }, title), ...nodes))
    nav.append(element('b', {}, title), element('ul', {}, ...nodes.filter((n) => n.id).map((n) =>
      element('li', {}, element('a', { href: '#' + n.id, 'data-for': n.id }, n.querySelector('summary b').textContent + ' ' + n.querySelector('h3').textContent)))))
  }
}

/** filter shows the cards that hold every word. */
function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean)
  let shown = 0
  for (const article of document.querySelectorAll('article')) {
    const held = article.textContent.toLowerCase()
    const match = words.every((w) => held.includes(w))
    article.hidden = !match
    document.querySelector(`[data-for="${article.id}"]`).parentElement.hidden = !match
    shown += match
  }
  for (const section of document.querySelectorAll('section')) {
    section.hidden = words.length > 0 && !section.querySelector('article:not([hidden])')
  }
  document.getElementById('state').textContent = words.length ? `${shown} found` : ''
}

/** open shows the card that the address names. */
function open() {
  const card = document.getElementById(location.hash.slice(1))
  const details = card?.querySelector('details')
  if (details) {
    details.open = true
    card.scrollIntoView()
  }
}

async function load(url) {
  const answer = await fetch(url)
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`)
  return answer.json()
}

try {
  const [openapi, asyncapi] = await Promise.all([load('openapi.json'), load('asyncapi.json')])
  document.getElementById('version').textContent = openapi.info.version
  document.getElementById('content').append(...prose(openapi.info.description))
  build([...rest(openapi), ...mqtt(asyncapi)])
  document.getElementById('state').textContent = ''
  document.getElementById('search').addEventListener('input', (event) => filter(event.target.value))
  window.addEventListener('hashchange', open)
  open()
} catch (error) {
  document.getElementById('state').textContent = 'The documents could not be loaded: ' + error.message
}
