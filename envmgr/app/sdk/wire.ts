export interface ClientOptions {
  /** Such as `http://127.0.0.1:8750`. */
  url: string;
  /** From `envmgr key create`; an agent has its own in ENVMGR_AGENT_KEY. */
  key: string;
  /** Milliseconds without an answer until a call fails; time that a call may wait is added. */
  timeoutMs?: number;
  /** How often a call is sent again at most. */
  retries?: number;
  fetch?: typeof fetch;
}

export interface CallOptions {
  /** Gives the call up; a waiter is then forgotten by the daemon. */
  signal?: AbortSignal;
}

/** What happened (`message`), and the next move (`hint`). */
export interface Problem {
  code: string;
  message: string;
  hint: string;
  retryable: boolean;
  details: Record<string, unknown>;
  request: string;
}

/** A call failed: the daemon said why, or did not answer (`status` 0). */
export class EnvmgrError extends Error {
  readonly problem: Problem;
  readonly status: number;

  constructor(problem: Problem, status: number) {
    super(problem.hint ? `${problem.message} (${problem.hint})` : problem.message);
    this.name = "EnvmgrError";
    this.problem = problem;
    this.status = status;
  }
}

interface How {
  repeats: boolean;
  key: string;
  waits: string;
}

type Asked = Record<string, unknown>;

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;

/** Calls of one daemon. A call is sent again, later and later, where that does no harm. */
export class Client {
  private readonly url: string;
  private readonly headers: Record<string, string>;
  private readonly timeoutMs: number;
  private readonly retries: number;
  private readonly fetch: typeof fetch;

  constructor(options: ClientOptions) {
    this.url = options.url.replace(/\/+$/, "");
    this.headers = { accept: "application/json", "x-api-key": options.key };
    this.timeoutMs = options.timeoutMs ?? 30_000;
    this.retries = options.retries ?? 3;
    this.fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
  }

  // <operations>

  private async call<T>(method: string, path: string, given: Asked, how: How, options: CallOptions): Promise<T> {
    const asked = how.key && given[how.key] == null ? { ...given, [how.key]: crypto.randomUUID() } : given;
    const waitMs = how.waits ? Number(asked[how.waits] ?? 0) * 1000 : 0;
    for (let attempt = 0; ; attempt++) {
      try {
        const deadline = AbortSignal.timeout(this.timeoutMs + waitMs);
        const response = await this.send(method, path, asked, options, deadline);
        return (await response.json()) as T;
      } catch (error) {
        const failure = asFailure(error);
        if (options.signal?.aborted || attempt >= this.retries || !mayRepeat(failure, how.repeats)) throw failure;
        await pause(failure, attempt);
      }
    }
  }

  private async *stream<T>(method: string, path: string, asked: Asked, options: CallOptions): AsyncGenerator<T> {
    const response = await this.send(method, path, asked, options);
    let rest = "";
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + piece).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const item = JSON.parse(line);
        if (Object.keys(item).join() === "problem") throw new EnvmgrError(item.problem, response.status);
        yield item as T;
      }
    }
  }

  private async send(
    method: string, path: string, asked: Asked, options: CallOptions, deadline?: AbortSignal,
  ): Promise<Response> {
    const rest = Object.fromEntries(Object.entries(asked).filter(([, value]) => value != null));
    const target = path.replace(/\{(\w+)\}/g, (_, name: string) => {
      const value = encodeURIComponent(String(rest[name]));
      delete rest[name];
      return value;
    });
    const isBodiless = method === "GET" || method === "DELETE";
    const signals = [deadline, options.signal].filter((signal) => signal !== undefined);
    const response = await this.fetch(this.url + target + (isBodiless ? query(rest) : ""), {
      method,
      headers: isBodiless ? this.headers : { ...this.headers, "content-type": "application/json" },
      signal: AbortSignal.any(signals),
      ...(isBodiless ? {} : { body: JSON.stringify(rest) }),
    });
    if (response.ok) return response;
    throw new EnvmgrError(await problemOf(response), response.status);
  }
}

function query(asked: Asked): string {
  const pairs = Object.entries(asked).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) => [name, String(one)]),
  );
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    return (await response.json()) as Problem;
  } catch {
    return unanswered(`something before the daemon answered ${response.status}`);
  }
}

function unanswered(message: string): Problem {
  return { code: "unavailable", message, hint: "", retryable: true, details: {}, request: "" };
}

function asFailure(error: unknown): EnvmgrError {
  if (error instanceof EnvmgrError) return error;
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return new EnvmgrError(unanswered(`no answer: ${cause instanceof Error ? cause.message : String(cause)}`), 0);
}

/** It certainly did nothing (429), or doing it twice does no harm. */
function mayRepeat(failure: EnvmgrError, repeats: boolean): boolean {
  return failure.status === 429 || (repeats && failure.problem.retryable);
}

/** Some wait longer than others, so that many clients do not come back at the same time. */
function pause(failure: EnvmgrError, attempt: number): Promise<void> {
  const wanted = failure.problem.details["retry_after_s"];
  const grown = FIRST_PAUSE_MS * 2 ** attempt * (0.5 + Math.random() / 2);
  const ms = Math.min(typeof wanted === "number" ? wanted * 1000 : grown, LONGEST_PAUSE_MS);
  return new Promise((resolve) => setTimeout(resolve, ms));
}
