// A first session with the API, written against the types that are generated from its description. Only compiled.

import createClient from "openapi-fetch";

import type { components, paths } from "./api.js";

type CreatedPost = components["schemas"]["CreatedPost"];

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
  if (published.error) {
    // Each field problem has a code that a form can act on.
    throw new Error(published.error.errors?.map(({ field, code }) => `${field}: ${code}`).join() ?? "refused");
  }
  const created: CreatedPost = published.data;
  const liked = await client.PUT("/v1/posts/{post}/like", { headers, params: { path: { post: created.post.id } } });
  const position: number = liked.data?.liked ? liked.data.position : created.position;

  const feed = await client.GET("/v1/feed", {
    headers,
    params: { query: { limit: 20 }, header: { "Chorus-Min-Position": position } },
  });
  return feed.data?.items.reduce((likes, post) => likes + post.likes, 0) ?? 0;
}
