// Renders openapi.json and asyncapi.json. Everything from the documents is inserted
// as text, never as HTML. URLs are relative, because the page may be below a proxy's path.

import { read, store, stored } from '../assets/token.js' // the inbox and the console share the tab's token

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

/** typeName describes a schema's type in a few words. */
function typeName(root, schema) {
  const s = resolve(root, schema)
  if (s.oneOf) return s.oneOf.map((o) => typeName(root, o)).join(' or ')
  if (s.enum) return s.enum.map((v) => JSON.stringify(v)).join(', ')
  const types = [].concat(s.type ?? 'any')
  if (types.includes('array')) return 'array of ' + typeName(root, s.items)
  return types.join(' or ') + (s.format ? ` (${s.format})` : '')
}

/** bounds describes the other constraints of a schema. */
function bounds(s) {
  const parts = []
  if (s.minLength !== undefined || s.maxLength !== undefined) parts.push(`${s.minLength ?? 0} to ${s.maxLength ?? '…'} characters`)
  if (s.minimum !== undefined || s.maximum !== undefined) parts.push(`${s.minimum ?? '…'} to ${s.maximum ?? '…'}`)
  if (s.minItems !== undefined || s.maxItems !== undefined) parts.push(`${s.minItems ?? 0} to ${s.maxItems ?? '…'} entries`)
  if (s.default !== undefined) parts.push(`default ${JSON.stringify(s.default)}`)
  return parts.join('; ')
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

/**
* sample builds an example of a schema from the examples of its parts. If it is to be sent,
* optional fields are omitted: a plain message has no report.
 */
function sample(root, schema, depth = 0, sent = false) {
  const s = resolve(root, schema)
  if (s.examples?.length) return s.examples[0]
  if (s.example !== undefined) return s.example
  if (s.enum) return s.enum[0]
  if (s.oneOf) return sample(root, s.oneOf[0], depth, sent)
  const type = [].concat(s.type)[0]
  if (type === 'array') return depth > 4 ? [] : [sample(root, s.items, depth + 1, sent)]
  if (type === 'object') {
    if (depth > 4) return {}
    const all = Object.keys(s.properties ?? {})
    const names = !sent ? all : s.required?.length ? s.required : all.slice(0, 1)
    return Object.fromEntries(names.map((name) => [name, sample(root, s.properties[name], depth + 1, sent)]))
  }
  return { integer: s.minimum ?? 0, number: 0, boolean: true, string: '…' }[type] ?? null
}

const pretty = (value) => element('pre', { tabindex: '0' }, JSON.stringify(value, null, 2))

/** shape shows a body: its fields and an example. */
function shape(root, title, schema, sent = false) {
  if (!schema) return []
  const rows = fields(root, schema)
  return [element('h4', {}, title), rows.length ? table(['field', 'type', 'about'], rows) : null,
    pretty(sample(root, schema, 0, sent))].filter(Boolean)
}

/** copyable is a text with a button that copies it. update() writes text() again. */
function copyable(text, name) {
  const pre = element('pre', { tabindex: '0' }, text())
  const button = element('button', { type: 'button', class: 'quiet', 'aria-label': 'Copy ' + name }, 'Copy')
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(pre.textContent)
      button.textContent = 'Copied'
    } catch { // not a secure context, or not permitted: select it for Ctrl+C
      getSelection().selectAllChildren(pre)
      button.textContent = 'Selected'
    }
    setTimeout(() => { button.textContent = 'Copy' }, 2000)
  })
  return { node: element('div', { class: 'copyable' }, pre, button), update() { pre.textContent = text() } }
}

/** quote returns text as one word for a shell. */
const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'")

/** Call is one call of an operation: the content of its form, as a request and as a curl command. */
class Call {
  constructor(root, method, path, operation) {
    this.method = method.toUpperCase()
    this.path = path
    this.open = !operation.security?.length
    const parameters = (operation.parameters ?? []).map((p) => resolve(root, p))
    this.inputs = parameters.map((p) => {
      const input = element('input', { id: `${operation.operationId}-${p.name}`, autocomplete: 'off', spellcheck: 'false' })
      if (p.in === 'path') input.value = String(p.example ?? sample(root, p.schema) ?? 1)
      if (p.schema?.default !== undefined) input.placeholder = String(p.schema.default)
      return { name: p.name, at: p.in, input }
    })
    const schema = operation.requestBody?.content?.['application/json']?.schema
    this.body = schema ? element('textarea', { id: operation.operationId + '-body', rows: '6', spellcheck: 'false' }) : null
    if (schema) this.body.value = JSON.stringify(sample(root, schema, 0, true), null, 2)
  }

  /** address is the URL of the call, below the same path as this page. */
  address() {
    let path = this.path
    const query = new URLSearchParams()
    for (const { name, at, input } of this.inputs) {
      if (at === 'path') path = path.replace(`{${name}}`, encodeURIComponent(input.value))
      if (at === 'query' && input.value !== '') query.set(name, input.value)
    }
    return new URL('.' + path + (query.size ? '?' + query : ''), new URL('.', document.baseURI)).href
  }

  headers() {
    const headers = this.inputs.filter((i) => i.at === 'header' && i.input.value !== '').map((i) => [i.name, i.input.value])
    if (this.body) headers.unshift(['Content-Type', 'application/json'])
    return headers
  }

  /** curl returns a command without the token itself, which would end up in the shell's history. */
  curl() {
    const parts = ['curl' + (this.method === 'GET' ? '' : ' -X ' + this.method) + ' ' + quote(this.address())]
    if (!this.open) parts.push('-H "Authorization: Bearer $FALCON_TOKEN"')
    for (const [name, value] of this.headers()) parts.push('-H ' + quote(`${name}: ${value}`))
    if (this.body) parts.push('-d ' + quote(this.oneLine()))
    return parts.join(' \\\n  ')
  }

  /** oneLine is the body without line breaks, if it is JSON. */
  oneLine() {
    try {
      return JSON.stringify(JSON.parse(this.body.value))
    } catch {
      return this.body.value
    }
  }

  async send() {
    const headers = new Headers(this.headers())
    if (!this.open && stored()) headers.set('Authorization', 'Bearer ' + stored())
    return fetch(this.address(), { method: this.method, headers, body: this.body?.value, credentials: 'omit', cache: 'no-store' })
  }
}

const shownHeaders = ['content-type', 'content-language', 'link', 'location', 'retry-after', 'x-last-seq', 'x-unread-count', 'x-rev', 'x-epoch', 'x-unknown-fields', 'idempotency-replayed', 'www-authenticate', 'x-request-id']

/** answered shows a response. */
async function answered(response) {
  const text = await response.text()
  let body = text
  try {
    body = JSON.stringify(JSON.parse(text), null, 2)
  } catch { /* not JSON: shown unchanged */ }
  const headers = shownHeaders.filter((name) => response.headers.has(name)).map((name) => `${name}: ${response.headers.get(name)}`)
  return [element('b', { class: response.ok ? 'good' : 'bad' }, `${response.status} ${response.statusText}`),
    headers.length ? element('pre', { tabindex: '0', 'aria-label': 'Headers' }, headers.join('\n')) : null,
    body ? element('pre', { tabindex: '0', 'aria-label': 'Body' }, body) : null].filter(Boolean)
}

/** tryIt is the form of a call, and its curl command. */
function tryIt(root, method, path, operation) {
  const call = new Call(root, method, path, operation)
  const line = copyable(() => call.curl(), 'curl')
  const answer = element('div', { class: 'answer', role: 'status' })
  const send = element('button', { type: 'submit', class: method === 'delete' ? 'danger' : 'primary' }, 'Send ' + call.method)
  const form = element('form', { class: 'try' },
    call.inputs.length ? element('div', { class: 'fields' }, ...call.inputs.map(({ name, input }) =>
      element('div', {}, element('label', { for: input.id }, name), input))) : null,
    call.body ? element('div', {}, element('label', { for: call.body.id }, 'Body'), call.body) : null,
    element('div', {}, send), answer)
  form.addEventListener('input', () => line.update())
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    send.disabled = true
    try {
      answer.replaceChildren(...(!call.open && !stored() ? [element('p', {}, 'No token: ', element('a', { href: '#token-form' }, 'enter one above'), '.')] : []),
        ...await answered(await call.send()))
    } catch (error) {
      answer.replaceChildren(element('b', { class: 'bad' }, 'No response: ' + error.message))
    }
    send.disabled = false
  })
  return [element('h4', {}, 'curl'), line.node, element('h4', {}, 'Try it'), form]
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
    tryIt(root, method, path, operation),
    parameters.length ? [element('h4', {}, 'Parameters'), table(['name', 'in', 'type', 'about'],
      parameters.map((p) => [element('code', {}, p.name), p.in, typeName(root, p.schema), [p.description ?? '', ' ', bounds(resolve(root, p.schema))]]))] : [],
    shape(root, 'Body', operation.requestBody?.content?.['application/json']?.schema, true),
    shape(root, 'Response', resolve(root, ok)?.content?.['application/json']?.schema),
    element('h4', {}, 'Statuses'), table(['status', 'when', 'headers'], answers))
}

/** rest renders the OpenAPI document, one section per tag. */
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
    card('mqtt-login', 'mqtt', 'CONNECT', 'Where to send the token', table(['way', 'how'], schemes)),
    card('mqtt-codes', 'mqtt', 'Reason codes', 'How requests are refused', table(['packet', 'MQTT 5', '3.1.1', 'when'], codes))] }]
}

function build(sections) {
  const main = document.getElementById('content')
  const nav = document.getElementById('nav')
  for (const { title, nodes } of sections) {
    const id = 'section-' + title.toLowerCase().replaceAll(' ', '-')
    main.append(element('section', { 'aria-labelledby': id }, element('h2', { id }, title), ...nodes))
    nav.append(element('div', {}, element('b', {}, title), element('ul', {}, ...nodes.filter((n) => n.id).map((n) =>
      element('li', {}, element('a', { href: '#' + n.id, 'data-for': n.id }, n.querySelector('summary b').textContent + ' ' + n.querySelector('h3').textContent))))))
  }
}

/** filter shows the cards that contain every word, and hides headings without cards. */
function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean)
  let shown = 0
  for (const article of document.querySelectorAll('article')) {
    const content = article.textContent.toLowerCase()
    const match = words.every((w) => content.includes(w))
    article.hidden = !match
    document.querySelector(`[data-for="${article.id}"]`).parentElement.hidden = !match
    shown += match
  }
  const searching = words.length > 0
  for (const section of document.querySelectorAll('section')) section.hidden = searching && !section.querySelector('article:not([hidden])')
  for (const group of document.querySelectorAll('#nav > div')) group.hidden = searching && !group.querySelector('li:not([hidden])')
  document.getElementById('intro').hidden = searching
  document.getElementById('state').textContent = searching ? (shown ? `${shown} found` : `Nothing contains “${text.trim()}”.`) : ''
}

/** drawToken shows whose token “Try it” sends. */
function drawToken() {
  const user = stored() && read(stored())?.user
  document.getElementById('token-state').textContent = !stored() ? 'Without a token, only the calls that require none can be tried.'
    : !user ? 'The stored text is not a token, which has three parts joined by dots.' : `“Try it” calls as user ${user}.`
  document.getElementById('token-forget').hidden = !stored()
}

function startToken() {
  const field = document.getElementById('token')
  document.getElementById('token-form').addEventListener('submit', (event) => {
    event.preventDefault()
    const given = field.value.trim().replace(/^Bearer\s+/i, '')
    if (given) store(given)
    field.value = ''
    drawToken()
  })
  document.getElementById('token-forget').addEventListener('click', () => {
    store(null)
    drawToken()
    field.focus()
  })
  drawToken()
}

/** open shows the card that the URL's fragment names. */
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

startToken()
try {
  const [openapi, asyncapi] = await Promise.all([load('openapi.json'), load('asyncapi.json')])
  document.getElementById('version').textContent = openapi.info.version
  document.getElementById('intro').prepend(...prose(openapi.info.description))
  build([...rest(openapi), ...mqtt(asyncapi)])
  document.getElementById('state').textContent = ''
  document.getElementById('search').addEventListener('input', (event) => filter(event.target.value))
  window.addEventListener('hashchange', open)
  open()
} catch (error) {
  document.getElementById('state').textContent = 'The documents could not be loaded: ' + error.message
}
