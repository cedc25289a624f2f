-- State::succeed. ARGV: 4 digest of what is succeeded, 5 the successor, 6 most of its kind, 7 idle or nothing.
local session, refused = read()
if refused then return refused end
if not session or not is_alive(session) then return answer('gone') end
local access = cjson.decode(ARGV[5])
local presented
for _, known in ipairs(session.access) do
  if known.digest == ARGV[4] and not known.foreign then presented = known end
end
if access.foreign or not presented then return answer('gone') end
if now >= presented.expires + (access.grace or 0) or now >= access.expires then return answer('gone') end
if math.min(access.expires, session.absolute) <= presented.expires then return answer('no_longer') end
access.generation = presented.generation
add_access(session, access, tonumber(ARGV[6]))
touch_idle(session, ARGV[7])
write(session)
return answer('kept')
