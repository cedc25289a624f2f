"""Three sidegates that share their sessions in Redis or Valkey: killed in the midst of renewals, with the servers away,
failed over or moved, and with clocks that do not agree. No session is lost.
"""

import os
import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import harness
import oidc_peer
from harness import BINARY, LONG, WORK, Peer, Sidegate, ask, eventually
from outside import REFRESH, STRICT, Authority, Session, Upstream, token
from replicas import lost
from replicas.crash import Point
from replicas.house import REPLICAS, Replicas
from replicas.load import Crowd, Refreshing, Steady
from replicas.servers import DURABLE, Cluster, Redis, Watched, valkey_server

CRASHING = os.environ["SIDEGATE_TEST_CRASH_POINTS"]
KILLS = 50 if LONG else 5  # at each point
AT_ONCE = 4  # points whose processes are killed beside one another
AWAY = 30 if LONG else 5  # seconds


class Storm(oidc_peer.Storm):
    """Three replicas in front of oidc-provider, whose refresh tokens are good once and not a moment longer."""

    @classmethod
    def serve(cls, client, **remote):
        cls.redis = cls.start(Redis(*DURABLE))
        settings = cls.settings(client, **remote)
        ring = WORK / "storm-master.keys"
        ring.write_bytes(subprocess.run([BINARY, "keys", "master"], check=True, capture_output=True).stdout)
        ring.chmod(0o600)
        settings.update(store={"redis": {"url": cls.redis.url}}, keys={"master_file": str(ring)})
        cls.all = [cls.start(Sidegate(settings)) for _ in range(REPLICAS)]
        return cls.all[0]

    def token(self, sidegate=None, **form):
        return super().token(sidegate or random.choice(self.all), **form)

    def port(self, number):
        return self.all[number % REPLICAS].port


class House(Peer):
    """One store, three replicas, an authority with books and an upstream that looks everything up in them."""

    @classmethod
    def prepare(cls):
        cls.authority = cls.start(Authority())
        cls.upstream = cls.start(Upstream(cls.authority))
        cls.authority.first = cls.authority.later = 2
        cls.serve()

    def tearDown(self):
        self.assertEqual(self.upstream.wrong, [], "the upstream was shown what is not good")

    @classmethod
    def replicas_on(cls, store, **how):
        return cls.start(Replicas(cls.authority, cls.upstream, store, **{"timeout": "2s", **how}))

    def crowd(self, **how):
        crowd = Crowd(self, self.replicas, **how)
        self.addCleanup(crowd.end)
        return crowd

    def assert_nothing_was_lost(self, crowd, healed=0):
        """Each session goes on at each replica with what its client had last, and nobody presented anything twice."""
        crowd.get_on()
        crowd.end()
        for client in crowd.clients:
            for sidegate in self.replicas:
                answer = client.session.refreshed(sidegate)
                self.assertEqual(answer.status, 200, f"{client.session.name}: {answer.text()}")
        refreshed = self.replicas.refreshed()
        self.assertEqual((refreshed["healed"], refreshed["reused"]), (healed, 0), refreshed)
        self.assertEqual(self.replicas.renewed(result="ended"), 0)
        revoked = [name for name, given in self.authority.books.items() if given.revoked]
        self.assertEqual(revoked, [], "by the books")
        return refreshed


class Shared(House):
    """What is proven in one process with three sidegates is so with three processes."""

    @classmethod
    def serve(cls):
        cls.redis = cls.start(cls.server())
        cls.replicas = cls.replicas_on({"url": cls.redis.url})

    @classmethod
    def server(cls):
        return Redis(*DURABLE)

    def test_of_64_refreshes_at_once_all_get_one_successor_and_the_session_lives(self):
        session = Session(self.replicas[0], f"{STRICT}-parallel")
        form = {"grant_type": "refresh_token", "refresh_token": session.refresh}
        with ThreadPoolExecutor(64) as pool:
            answers = list(pool.map(lambda number: token(self.replicas[number], **form), range(64)))
        self.assertEqual({answer.status for answer in answers}, {200}, [answer.text() for answer in answers])
        self.assertEqual(len({answer.json()["refresh_token"] for answer in answers}), 1)
        self.assertEqual(self.authority.books[session.name].rotations, 1)
        session.take(answers[0])
        for sidegate in self.replicas:
            self.assertEqual(session.refreshed(sidegate).status, 200)
            self.assertEqual([session.get(one).status for one in self.replicas], [200] * REPLICAS)

    def test_a_reuse_at_one_replica_is_refused_by_all_within_a_second(self):
        took = []
        for number in range(10):
            session = Session(self.replicas[number], f"steady-reuse-{number}")
            first = session.refresh
            for sidegate in (self.replicas[number + 1], self.replicas[number + 2]):
                self.assertEqual(session.refreshed(sidegate).status, 200)
            self.assertEqual([session.get(one).status for one in self.replicas], [200] * REPLICAS)
            reused = token(self.replicas[number], grant_type="refresh_token", refresh_token=first)
            self.assertEqual((reused.status, reused.json()["error"]), (400, "invalid_grant"))
            began = time.monotonic()
            for sidegate in self.replicas:
                refused = lambda one=sidegate: session.get(one).status == 401  # noqa: B023, E731
                eventually("it is refused", refused, patience=1, pause=0.001)
            took.append(time.monotonic() - began)
            self.assertEqual({session.refreshed(one).status for one in self.replicas}, {400})
        print(f"a reuse was refused by all replicas within {max(took) * 1000:.0f} ms (10 times)")


class OnValkey(Shared):
    """The same on Valkey."""

    @classmethod
    def server(cls):
        return Redis(*DURABLE, binary=valkey_server())


class Away(House):
    """Redis goes away under load and comes back with what it had."""

    @classmethod
    def serve(cls):
        cls.redis = cls.start(Redis(*DURABLE))
        cls.replicas = cls.replicas_on({"url": cls.redis.url})

    def goes_on_without(self, crowd):
        """For as long as it is away."""
        end = time.monotonic() + AWAY
        while time.monotonic() < end:
            crowd.get_on((Steady,))
        refused = sum(client.unavailable for client in crowd.of(Refreshing))
        self.assertGreater(refused, 0, "nobody could refresh")
        return refused

    def test_it_hangs(self):
        crowd = self.crowd()
        self.redis.freeze()
        refused = self.goes_on_without(crowd)
        self.redis.thaw()
        refreshed = self.assert_nothing_was_lost(crowd)
        print(f"hung for {AWAY} s: {refused} times 503, {refreshed['rotated']} rotations, none lost")

    def test_it_is_killed_and_started_again(self):
        crowd = self.crowd()
        self.redis.kill()
        refused = self.goes_on_without(crowd)
        self.redis.restart()
        refreshed = self.assert_nothing_was_lost(crowd)
        print(f"killed for {AWAY} s: {refused} times 503, {refreshed['rotated']} rotations, none lost")

    def test_it_is_killed_again_and_again(self):
        crowd = self.crowd()
        for _ in range(30 if LONG else 3):
            time.sleep(random.uniform(0, 0.5))
            self.redis.kill()
            self.redis.restart()
            crowd.get_on()
        self.assert_nothing_was_lost(crowd)


class FailedOver(House):
    """The master is killed, and the sentinels choose the replica."""

    @classmethod
    def serve(cls):
        cls.servers = cls.start(Watched())
        cls.replicas = cls.replicas_on(cls.servers.settings())

    def test_the_master_is_killed_under_load(self):
        crowd = self.crowd()
        self.servers.master.kill()
        began = time.monotonic()
        eventually("the sentinels have chosen", self.servers.has_failed_over)
        crowd.get_on((Steady,))
        crowd.get_on()
        took = time.monotonic() - began
        refused = sum(client.unavailable for client in crowd.clients)
        refreshed = self.assert_nothing_was_lost(crowd)
        print(
            f"failed over, and served again after {took:.1f} s: {refused} times 503, "
            f"{refreshed['rotated']} rotations, none lost"
        )


class Moved(House):
    """Slots of a cluster move from one node to another under load."""

    @classmethod
    def serve(cls):
        cls.servers = cls.start(Cluster())
        cls.replicas = cls.replicas_on(cls.servers.settings())

    def test_slots_move_under_load(self):
        crowd = self.crowd()
        before = self.servers.slots()
        slots = 16384 // 3 if LONG else 500
        self.servers.move(slots, 0, 1)
        crowd.get_on()
        self.servers.move(slots, 1, 2)
        crowd.get_on()
        after = self.servers.slots()
        self.assertEqual(after, [before[0] - slots, before[1], before[2] + slots])
        refused = sum(client.unavailable for client in crowd.clients)
        refreshed = self.assert_nothing_was_lost(crowd)
        print(f"{2 * slots} slots moved: {refused} times 503, {refreshed['rotated']} rotations, none lost")


class Apart(House):
    """One clock is 90 seconds late, one is 90 seconds early."""

    @classmethod
    def serve(cls):
        cls.redis = cls.start(Redis(*DURABLE))
        # The ordinary binary is static: nothing can be put before it that tells it another time.
        cls.replicas = cls.replicas_on({"url": cls.redis.url}, binary=CRASHING, clocks=(-90, 0, 90))

    def test_they_are_other_clocks(self):
        for ahead, sidegate in zip((-90, 0, 90), self.replicas, strict=True):
            told = parsedate_to_datetime(ask(sidegate.port, "/").headers["Date"]).timestamp()
            self.assertAlmostEqual(told - time.time(), ahead, delta=5)

    def test_sessions_go_round_the_replicas(self):
        crowd = self.crowd()
        time.sleep(8)
        refreshed = self.assert_nothing_was_lost(crowd)
        unavailable = sum(client.unavailable for client in crowd.clients)
        self.assertEqual((refreshed["unavailable"], unavailable), (0, 0))


class Forgotten(House):
    """What the documentation says of servers that do not keep all that they have acknowledged."""

    EVERY_SECOND = ("--appendonly", "yes", "--appendfsync", "everysec")

    @classmethod
    def serve(cls):
        """Each test has a store of its own."""

    def told(self, what, store, gone, back):
        replicas = self.replicas_on(store, change=lost.local, journal=False)
        crowd = lost.Crowd(replicas)
        crowd.until(gone)
        back()
        found = crowd.look()
        print(
            f"{what}: of {found['sessions']} sessions and {found['refreshes']} refreshes, {found['rate']:.0f} in a "
            f"second, {found['healed']} refreshes were forgotten and healed, {found['lost']} sessions lost"
        )
        return found

    def test_a_process_that_is_killed_forgets_nothing_that_it_wrote_each_second(self):
        redis = self.start(Redis(*self.EVERY_SECOND))
        found = self.told("everysec, kill -9", {"url": redis.url}, redis.kill, redis.restart)
        self.assertEqual((found["healed"], found["lost"]), (0, 0), "what is written is the system's, synced or not")

    def test_a_second_that_was_not_synced_costs_its_sign_ins_and_no_refresh(self):
        redis = self.start(Redis(*self.EVERY_SECOND))
        sizes = lost.Sizes(redis.folder / "appendonlydir" / "appendonly.aof.1.incr.aof")

        def back():
            sizes.forget(1)
            redis.restart()

        found = self.told("everysec, and the last second gone", {"url": redis.url}, redis.kill, back)
        self.assertGreater(found["healed"], 0)
        self.assertLess(found["lost"], found["sessions"])

    def test_a_replica_that_is_behind_costs_the_same(self):
        master = self.start(Redis(*DURABLE))
        late = self.start(lost.Behind(master.port))
        replica = self.start(Redis(*DURABLE, "--replicaof", f"127.0.0.1 {late.port}"))
        eventually("the replica follows", lambda: replica.info("replication")["master_link_status"] == "up")
        way = self.start(lost.Behind(master.port))
        late.late = 0.5

        def gone():
            late.cut()
            master.kill()

        def back():
            replica.ask("REPLICAOF", "NO", "ONE")
            way.cut(replica.port)

        store = {"url": f"redis://127.0.0.1:{way.port}"}
        found = self.told("a replica half a second behind takes over", store, gone, back)
        self.assertLess(found["lost"], found["sessions"])


class Crash(Peer):
    """A replica is killed in the midst of renewals: the others finish them. Points are looked at beside one another."""

    POINTS = {
        "BeforeIntent": {},
        "AfterIntent": {"undone": True},
        "read": {"undone": True},
        "rotated": {"undone": True, "lost": True},
        "AfterReceive": {"undone": True, "lost": True},
        "AfterJournal": {"back": True},
        "AfterCommit": {},
        "BeforeAnswer": {},
        "AfterRotation": {"ways": (REFRESH,)},
    }

    @classmethod
    def prepare(cls):
        cls.redis = cls.start(Redis(*DURABLE))
        cls.pool = ThreadPoolExecutor(AT_ONCE)
        cls.outcomes = {point: cls.pool.submit(cls.killed_at, point, **how) for point, how in cls.POINTS.items()}

    @classmethod
    def tearDownClass(cls):
        cls.pool.shutdown(cancel_futures=True)
        super().tearDownClass()

    @classmethod
    def killed_at(cls, point, **how):
        return Point(CRASHING, cls.redis, point, KILLS, **how).run()

    def outcome(self, point):
        print(self.outcomes[point].result())

    def test_killed_before_the_intent(self):
        self.outcome("BeforeIntent")

    def test_killed_after_the_intent(self):
        self.outcome("AfterIntent")

    def test_killed_after_the_question_was_read_and_before_anything_was_done(self):
        self.outcome("read")

    def test_killed_after_the_authority_has_rotated_and_before_its_answer(self):
        self.outcome("rotated")

    def test_killed_after_the_answer_was_received(self):
        self.outcome("AfterReceive")

    def test_killed_after_the_answer_was_in_the_journal_and_back_before_anybody_else_asks(self):
        self.outcome("AfterJournal")

    def test_killed_after_the_commit(self):
        self.outcome("AfterCommit")

    def test_killed_before_whoever_waits_has_the_answer(self):
        self.outcome("BeforeAnswer")

    def test_killed_after_the_own_refresh_token_has_rotated(self):
        self.outcome("AfterRotation")


if __name__ == "__main__":
    harness.main()
