-- State::slide. ARGV: 4 digest, 5 end that was seen, 6 lifetime, 7 grace, 8 idle or nothing.
local session, refused = read()
if refused then return refused end
if not session or session.revoked or now >= session.absolute then return answer('gone') end
local access
for _, known in ipairs(session.access) do
  if known.digest == ARGV[4] and not known.foreign then access = known end
end
if not access or now >= access.expires + tonumber(ARGV[7]) then return answer('gone') end
local expires = math.min(now + tonumber(ARGV[6]), session.absolute)
local stands = access.expires > tonumber(ARGV[5]) or expires <= access.expires
if stands and now < access.expires then return answer('stands', access.expires) end
access.issued = now
access.expires = expires
access.grace = tonumber(ARGV[7])
touch_idle(session, ARGV[8])
write(session)
return answer('moved', expires)
