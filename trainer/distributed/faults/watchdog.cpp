#include "trainer/distributed/faults/watchdog.h"

#include <cmath>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "model/io/error.h"
#include "trainer/distributed/job/clock.h"
#include "trainer/distributed/job/network_address.h"

namespace vmla::distributed {
namespace {

// A store that lives answers within this time even on a host that is short of everything.
constexpr double kAnswerSeconds = 3;

std::string beat_key(int64_t rank) {
  return formatted("beat/{}", rank);
}

std::vector<std::optional<Heartbeat>> read_beats(Store& store, int64_t world_size) {
  std::vector<std::string> keys;
  for (int64_t rank = 0; rank < world_size; ++rank) keys.push_back(beat_key(rank));
  std::vector<std::optional<Heartbeat>> beats;
  for (const auto& text : store.find(keys))
    beats.push_back(text ? parse_heartbeat(*text) : std::nullopt);
  return beats;
}

}  // namespace

struct Watchdog::Shared {
  // What the watchdog's thread and its callers both touch, under the mutex.
  mutable std::mutex mutex;
  std::condition_variable changed;
  bool ended = false;
  /// As last read: all that is known of rank 0 when the store has stopped.
  std::optional<Heartbeat> of_rank_0;
  Clock::time_point store_answered = Clock::now();
  std::optional<StoreError> store_lost;
  std::string host = host_name();
  // Of the watchdog's thread alone.
  int64_t count = 0;
  std::unique_ptr<Store> connection;
  std::thread thread, hang;
};

Watchdog::Watchdog(const Store& store,
                   const RankEnvironment& environment,
                   std::shared_ptr<const CollectiveLog> log,
                   WatchdogOptions options)
    : store_(store),
      environment_(environment),
      log_(std::move(log)),
      options_(std::move(options)),
      shared_(std::make_unique<Shared>()) {
  shared_->connection = store_.connect_again(kAnswerSeconds);
  shared_->thread = std::thread([this] { run(); });
}

Watchdog::~Watchdog() {
  {
    const std::scoped_lock lock(shared_->mutex);
    shared_->ended = true;
  }
  shared_->changed.notify_all();
  shared_->thread.join();
  if (shared_->hang.joinable()) shared_->hang.join();
}

/// The watchdog's thread.
void Watchdog::run() {
  for (bool ended = false; !ended;) {
    beat();
    look_for_hang();
    std::unique_lock lock(shared_->mutex);
    ended = shared_->changed.wait_for(lock,
                                      std::chrono::duration<double>(options_.period_seconds),
                                      [this] { return shared_->ended; });
  }
  if (store_answers()) beat();
}

bool Watchdog::store_answers() const {
  const std::scoped_lock lock(shared_->mutex);
  return !shared_->store_lost;
}

/// Writes this rank's heartbeat and reads rank 0's. Without a store nobody could read it, so a
/// StoreError is kept for explain(), and the next beat tries again.
void Watchdog::beat() {
  try {
    auto& connection = shared_->connection;
    if (!connection) connection = store_.connect_again(kAnswerSeconds);
    ++shared_->count;
    connection->set(beat_key(environment_.rank), format_heartbeat(own_beat()));
    const auto text = connection->find({beat_key(0)}).front();
    const std::scoped_lock lock(shared_->mutex);
    shared_->store_answered = Clock::now();
    shared_->store_lost.reset();
    if (text) shared_->of_rank_0 = parse_heartbeat(*text);
  } catch (const StoreError& error) {
    shared_->connection.reset();
    const std::scoped_lock lock(shared_->mutex);
    shared_->store_lost = error;
  }
}

Heartbeat Watchdog::own_beat() const {
  Heartbeat beat{.count = shared_->count, .sent_at = time_of_day(), .step = step_};
  {
    const std::scoped_lock lock(shared_->mutex);
    beat.host = shared_->host;
    if (shared_->ended) beat.state = Heartbeat::State::kEnded;
  }
  if (log_->first_failed()) beat.state = Heartbeat::State::kFailed;
  for (const CollectiveRecord& record : log_->latest()) {
    beat.groups.push_back({.name = record.group,
                           .collective = describe(record),
                           .sequence = record.sequence,
                           .under_way = record.state == CollectiveRecord::State::kUnderWay,
                           .seconds = seconds_since(record.changed)});
  }
  return beat;
}

/// Calls on_hang, once, for a collective that is past its timeout and still awaited, or that has
/// failed on its device while this rank goes on as if it had not.
void Watchdog::look_for_hang() {
  if (!options_.on_hang || shared_->hang.joinable()) return;
  const double grace = options_.grace_seconds;
  const auto oldest = log_->longest_awaited(), broken = log_->first_failed_on_device();
  const bool is_late = oldest && seconds_since(oldest->changed) >= options_.timeout_seconds + grace;
  const bool is_stuck = broken && !stands_down_ && seconds_since(broken->changed) >= grace;
  if (!is_late && !is_stuck) return;
  // On a thread of its own: the heartbeats must go on, or the other ranks take this one for silent.
  shared_->hang = std::thread([this] { options_.on_hang(explain()); });
}

std::string Watchdog::explain(const std::function<bool()>& give_up) const {
  auto failed = log_->first_failed();
  if (!failed) failed = log_->longest_awaited();
  if (!failed) return "no collective has failed on this rank";
  std::vector<Sighting> sightings;
  try {
    {
      const std::scoped_lock lock(shared_->mutex);
      if (shared_->store_lost) throw StoreError(*shared_->store_lost);
    }
    const auto asking = store_.connect_again(kAnswerSeconds);
    for (auto& beat : read_beats(*asking, environment_.world_size))
      sightings.push_back({.before = std::move(beat), .after = {}});
    const auto start = Clock::now();
    while (seconds_since(start) < 2.2 * options_.period_seconds) {
      if (give_up && give_up()) return {};
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    auto after = read_beats(*asking, environment_.world_size);
    for (size_t rank = 0; rank < sightings.size(); ++rank)
      sightings[rank].after = std::move(after[rank]);
  } catch (const StoreError& error) {
    return blame_store(describe(*failed), error);
  }
  return name_missing_ranks(
      *failed, log_->members(failed->group), environment_.rank, sightings, time_of_day());
}

/// What failed, when the store cannot be asked who is missing: the store itself, or who serves it.
std::string Watchdog::blame_store(const std::string& what, const StoreError& error) const {
  const std::scoped_lock lock(shared_->mutex);
  const std::string since =
      formatted("{}{} s",
                error.gone ? " is gone, since about " : " has not answered for ",
                std::llround(seconds_since(shared_->store_answered)));
  const Store::Server& server = store_.server();
  if (environment_.use_agent_store)
    return formatted("{}: the launcher's store at {}:{}{}", what, server.host, server.port, since);
  const auto& last = shared_->of_rank_0;
  return formatted("{}: rank 0 on host {}, which serves the store,{}{}",
                   what,
                   last ? last->host : server.host,
                   since,
                   last ? last_collective_of(*last) : "");
}

}  // namespace vmla::distributed
