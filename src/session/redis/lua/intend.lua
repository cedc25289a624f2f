-- State::intend. ARGV: 4 generation that was seen, 5 owner, 6 lease in milliseconds.
local session, refused = read()
if refused then return refused end
if not session or session.revoked or now >= session.absolute or not session.vouched then return answer('gone') end
local vouched = session.vouched
if vouched.generation ~= tonumber(ARGV[4]) then return answer('moved') end
local again = false
if vouched.intent then
  if vouched.intent.owner ~= ARGV[5] and at < vouched.intent.lapses then
    return answer('held', math.min(vouched.intent.lapses - at, tonumber(ARGV[6])))
  end
  vouched.doubtful = true
  again = true
end
vouched.epoch = (vouched.epoch or 0) + 1
vouched.intent = { owner = ARGV[5], lapses = at + tonumber(ARGV[6]), again = again or nil }
write(session)
return answer('go', vouched.epoch, vouched.doubtful and 1 or 0, again and 1 or 0)
