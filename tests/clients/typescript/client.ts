// A first session with the API, written against the types that are generated from its description. Only compiled.

import createClient from "openapi-fetch";

import type { components, paths } from "./api.js";

type Receipt = components["schemas"]["Receipt"];

const client = createClient<paths>({ baseUrl: "http://127.0.0.1:8080" });

export async function session(photo: Blob): Promise<number> {
  const account = await client.POST("/v1/accounts", {
    body: { username: "ann", email: "ann@example.org", password: "correct horse battery" },
  });
  if (account.error) {
    throw new Error(account.error.detail);
  }
  const headers = { Authorization: `Bearer ${account.data.token}` };

  const published = await client.POST("/v1/posts", {
    headers,
    params: { header: { "Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324" } },
    body: { image: [], caption: "First light over the harbour" },
    bodySerializer: ({ caption }) => {
      const form = new FormData();
      form.append("image", photo);
      form.append("caption", caption ?? "");
      return form;
    },
  });
  const receipt: Receipt | undefined = published.data;
  if (!receipt?.id) {
    throw new Error("nothing was published");
  }
  const liked = await client.PUT("/v1/posts/{post}/like", { headers, params: { path: { post: receipt.id } } });
  const position: number = liked.data?.position ?? receipt.position;

  const feed = await client.GET("/v1/feed", {
    headers,
    params: { query: { limit: 20 }, header: { "Chorus-Min-Position": position } },
  });
  return feed.data?.items.reduce((likes, post) => likes + post.likes, 0) ?? 0;
}
