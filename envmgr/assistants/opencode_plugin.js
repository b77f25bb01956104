// Tells envmgr what this opencode is doing. Reports go out one after the other, and a failing one is nobody's trouble.
import { spawn } from "node:child_process"

const COMMAND = ["true"]

let last = Promise.resolve()
let known = ""
const children = new Set()

function report(hook, payload) {
  const text = JSON.stringify(payload ?? {})
  last = last.then(
    () =>
      new Promise((done) => {
        try {
          const child = spawn(COMMAND[0], [...COMMAND.slice(1), hook], { stdio: ["pipe", "pipe", "ignore"] })
          let said = ""
          child.stdout.on("data", (piece) => (said += piece))
          child.on("error", () => done(""))
          child.on("close", () => done(said))
          child.stdin.on("error", () => {})
          child.stdin.end(text)
        } catch {
          done("")
        }
      }),
  )
  return last
}

// What is to be told to the model, if anything is.
function advice(said) {
  try {
    return JSON.parse(said).hookSpecificOutput.additionalContext ?? ""
  } catch {
    return ""
  }
}

const ids = ({ sessionID, messageID }) => ({ sessionID, messageID })

// The same state is said many times; once is enough.
function state(hook, payload) {
  const now = hook + JSON.stringify(payload)
  if (now !== known) report(hook, payload)
  known = now
}

export const Envmgr = async () => ({
  event: async ({ event }) => {
    const about = event.properties ?? {}
    const session = about.sessionID ?? about.info?.id
    if (event.type === "session.created" && about.info?.parentID) children.add(session)
    const isChild = children.has(session)
    if (event.type === "permission.asked" || event.type === "permission.replied")
      state(event.type, { sessionID: session, id: about.id ?? about.requestID, permission: about.permission, reply: about.reply })
    else if (isChild) return
    else if (event.type === "session.status") state(event.type, { sessionID: session, status: about.status?.type })
    else if (event.type === "session.error") state(event.type, { sessionID: session, error: about.error?.name })
  },
  "chat.message": async (input, output) => {
    if (children.has(input.sessionID)) return
    const prompt = (output.parts ?? []).filter((part) => part.type === "text" && !part.synthetic).map((part) => part.text).join("\n")
    known = ""
    const text = advice(await report("chat.message", { sessionID: input.sessionID, prompt }))
    const end = output.parts?.at(-1)
    // Parts are read in the order of their ids.
    if (text && end) output.parts.push({ ...ids(end), id: `${end.id}z`, type: "text", text, synthetic: true })
  },
  "experimental.session.compacting": async (input) => {
    if (!children.has(input.sessionID)) report("session.compacting", { sessionID: input.sessionID })
  },
  "tool.execute.before": async (input) => state("tool.execute.before", { tool: input.tool, id: input.callID }),
  "tool.execute.after": async (input) => state("tool.execute.after", { tool: input.tool, id: input.callID }),
})
