import { type AsyncAPIDocumentInterface, Parser } from "@asyncapi/parser";
import { beforeAll, describe, expect, test } from "vitest";
import { faults, timeout, served } from "./document.js";

const text = served("asyncapi.json");
const parser = new Parser();

describe("the served AsyncAPI document", () => {
  let document: AsyncAPIDocumentInterface;
  let found: string[];

  beforeAll(async () => {
    const parsed = await parser.parse(text);
    found = faults(parsed.diagnostics);
    document = parsed.document!;
  }, timeout);

  test("has no error and no warning", () => {
    expect(found).toEqual([]);
    expect(document?.version()).toMatch(/^3\./);
  });

  test("names the topics of one user and of everyone", () => {
    const addresses = document.channels().all().map((c) => c.address());
    expect(addresses).toEqual(["users/{userId}/reports/status", "users/+/reports/status"]);
    expect(document.channels().get("notifications")!.parameters().has("userId")).toBe(true);
  });

  test("lets the server send on both and no client publish", () => {
    expect(document.operations().filterByReceive()).toEqual([]);
    const sent = document.operations().filterBySend().map((o) => [o.id(), o.channels().all().map((c) => c.id())]);
    expect(sent).toEqual([
      ["sendNotification", ["notifications"]],
      ["sendState", ["notifications"]],
      ["sendToOperators", ["everyone"]],
    ]);
    expect(document.operations().get("sendNotification")!.bindings().get("mqtt")!.value()).toMatchObject({ qos: 1 });
  });

  test("names state messages on the topic of one user only", () => {
    const names = (channel: string) => document.channels().get(channel)!.messages().all().map((m) => m.name());
    expect([names("notifications"), names("everyone")]).toEqual([["notification", "state"], ["notification"]]);
    const state = document.channels().get("notifications")!.messages().get("state")!;
    expect(state.headers()!.required()).toEqual(["type", "epoch"]);
    expect(state.payload()!.property("from")!.type()).toEqual(["integer", "null"]);
  });

  test.each(["notifications", "everyone"])("gives the messages of %s their schema", (channel) => {
    const message = document.channels().get(channel)!.messages().get("notification");
    expect(message!.contentType()).toBe("application/json");
    expect(message!.headers()!.required()).toEqual(["id", "seq", "kind", "epoch"]);
    const payload = message!.payload()!;
    expect(payload.type()).toBe("object");
    expect(payload.required()).toEqual(["id", "seq", "kind", "title", "message", "created_by", "created_at", "read_at"]);
    expect(payload.property("seq")!.type()).toBe("integer");
    expect(payload.property("read_at")!.type()).toEqual(["string", "null"]);
  });
});

describe("a broken copy is refused", () => {
  const refs = { channel: '"$ref": "#/channels/notifications"', message: "#/channels/notifications/messages/notification" };

  test.each([
    ["an operation on no channel", refs.channel, '"$ref": "#/channels/none"', "invalid-ref at operations.sendNotification.channel.$ref"],
    [
      "an operation with another channel's message",
      refs.message,
      "#/channels/everyone/messages/notification",
      "asyncapi3-operation-messages-from-referred-channel at operations.sendNotification.messages.0",
    ],
    [
      "a topic whose parameter is not described",
      '"userId": {',
      '"id": {',
      "asyncapi3-channel-parameters at channels.notifications.parameters",
    ],
    [
      "a quality of service that MQTT has not",
      '"qos": 1',
      '"qos": 3',
      "asyncapi-document-resolved at operations.sendNotification.bindings.mqtt.qos",
    ],
    [
      "a payload of an unknown type",
      '"type": "integer"',
      '"type": "whole"',
      "asyncapi-document-resolved at components.schemas.userId.oneOf.0.type",
    ],
  ])(
    "%s",
    async (_, good, bad, fault) => {
      expect(text).toContain(good);
      const { document, diagnostics } = await parser.parse(text.replace(good, bad));
      expect(faults(diagnostics)).toContain(fault);
      expect(document).toBeUndefined();
    },
    timeout,
  );
});
