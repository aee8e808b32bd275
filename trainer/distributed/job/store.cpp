#include "trainer/distributed/job/store.h"

#include <ATen/core/Tensor.h>
#include <sys/resource.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstdlib>
#include <mutex>
#include <utility>

#include "model/io/error.h"
#include "trainer/distributed/job/abandonable_thread.h"
#include "trainer/distributed/job/clock.h"

namespace vmla::distributed {
namespace {

using Engine = c10::intrusive_ptr<c10d::TCPStore>;

// A living server answers in well under a millisecond; a host that swaps may take seconds.
constexpr double kAnswerSeconds = 30;
// A host accepts connections even while its server is stopped: a refusal is soon final.
constexpr double kRefusedSeconds = 1;

/// Mutes c10d, which warns on stderr, with a stack, of every attempt to connect and of every lost
/// connection; whoever catches the error says what matters. The level is one for the process, so
/// holders on several threads are counted. TORCH_CPP_LOG_LEVEL, if set, is left alone.
class Quiet {
 public:
  Quiet() {
    const std::scoped_lock lock(mutex);
    if (holders++ == 0 && std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr)
      before = std::exchange(FLAGS_caffe2_log_level, c10::GLOG_FATAL);
  }
  ~Quiet() {
    const std::scoped_lock lock(mutex);
    if (--holders == 0 && before >= 0) FLAGS_caffe2_log_level = std::exchange(before, -1);
  }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  static inline std::mutex mutex;
  static inline int holders = 0;
  static inline int before = -1;
};

/// Every rank holds several connections to the server; a soft limit of 1024 files is for others.
void allow_many_files() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

std::string text_of(const std::vector<uint8_t>& bytes) {
  return {bytes.begin(), bytes.end()};
}

/// How to find a server, and how long connecting to it may take.
c10d::TCPStoreOptions client_options(const Store::Server& server, double timeout_seconds) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(server.port);
  options.waitWorkers = false;  // meet_ranks waits for them, and names who is missing
  options.timeout = milliseconds(timeout_seconds);
  return options;
}

}  // namespace

/// c10d's client of one server, used on a thread that can be abandoned.
class Store::Connection {
 public:
  /// Each request may take `answer_seconds`, beside what it waits for by itself. StoreError when
  /// there is no connection after `timeout_seconds`.
  Connection(const Server& server,
             const c10d::TCPStoreOptions& options,
             double answer_seconds,
             double timeout_seconds)
      : name_(formatted("{}:{}", server.host, server.port)), answer_seconds_(answer_seconds) {
    ask<void>(timeout_seconds, [host = server.host, options](Engine& engine) {
      engine = c10::make_intrusive<c10d::TCPStore>(host, options);
    });
  }

  /// Runs `request`, which may wait for `more_seconds` by itself. c10::DistStoreError: a key did
  /// not come within a request's own time. StoreError: the server is gone, or silent.
  template <class Result>
  Result ask(double more_seconds, std::function<Result(Engine&)> request) {
    const double limit = more_seconds + answer_seconds_;
    std::future<Result> result = thread_.run<Result>(
        [engine = engine_, request = std::move(request)] {
          const Quiet quiet;
          return request(*engine);
        },
        limit);
    if (!result.valid())
      throw StoreError(formatted("the job's store at {} has not answered for {:g} s", name_, limit),
                       false);
    try {
      return result.get();
    } catch (const c10::DistStoreError&) {
      throw;
    } catch (const std::exception& error) {
      throw StoreError(formatted("the job's store at {} is gone: {}", name_, error.what()), true);
    }
  }

  c10d::Store& engine() const { return **engine_; }

 private:
  std::string name_;
  double answer_seconds_;
  /// Shared with the requests: one that is given up goes on with it.
  std::shared_ptr<Engine> engine_ = std::make_shared<Engine>();
  AbandonableThread thread_;
};

Store::Store(Server server, std::string prefix, std::unique_ptr<Connection> connection)
    : server_(std::move(server)), prefix_(std::move(prefix)), connection_(std::move(connection)) {}

Store::~Store() = default;

std::unique_ptr<Store> Store::serve(const Server& server,
                                    int socket,
                                    std::string prefix,
                                    double timeout_seconds) {
  allow_many_files();
  c10d::TCPStoreOptions options = client_options(server, timeout_seconds);
  options.isServer = true;
  options.masterListenFd = socket;
  auto connection = std::make_unique<Connection>(server, options, kAnswerSeconds, timeout_seconds);
  return std::unique_ptr<Store>(new Store(server, std::move(prefix), std::move(connection)));
}

std::unique_ptr<Store> Store::connect(const Server& server,
                                      std::string prefix,
                                      double timeout_seconds) {
  const c10d::TCPStoreOptions options = client_options(server, timeout_seconds);
  auto connection = std::make_unique<Connection>(server, options, kAnswerSeconds, timeout_seconds);
  return std::unique_ptr<Store>(new Store(server, std::move(prefix), std::move(connection)));
}

std::unique_ptr<Store> Store::connect_again(double answer_seconds) const {
  const c10d::TCPStoreOptions options = client_options(server_, kRefusedSeconds);
  auto connection = std::make_unique<Connection>(server_, options, answer_seconds, 0);
  return std::unique_ptr<Store>(new Store(server_, prefix_, std::move(connection)));
}

void Store::set(const std::string& key, const std::string& value) {
  connection_->ask<void>(0, [name = prefix_ + key, value](Engine& engine) {
    static_cast<c10d::Store&>(*engine).set(name, value);
  });
}

std::string Store::set_if_new(const std::string& key, const std::string& value) {
  return connection_->ask<std::string>(0, [name = prefix_ + key, value](Engine& engine) {
    // An expected value of nothing means a key that does not exist.
    return static_cast<c10d::Store&>(*engine).compareSet(name, std::string(), value);
  });
}

std::optional<std::string> Store::wait_for(const std::string& key, double timeout_seconds) {
  try {
    return connection_->ask<std::string>(timeout_seconds,
                                         [name = prefix_ + key, timeout_seconds](Engine& engine) {
                                           engine->wait({name}, milliseconds(timeout_seconds));
                                           return text_of(engine->get(name));
                                         });
  } catch (const c10::DistStoreError&) {
    return std::nullopt;
  }
}

std::vector<std::optional<std::string>> Store::find(const std::vector<std::string>& keys) {
  using Values = std::vector<std::optional<std::string>>;
  return connection_->ask<Values>(0, [prefix = prefix_, keys](Engine& engine) {
    Values values;
    for (const std::string& key : keys) {
      const std::string name = prefix + key;
      values.emplace_back();
      if (engine->check({name})) values.back() = text_of(engine->get(name));
    }
    return values;
  });
}

bool Store::check(const std::string& key) {
  return connection_->ask<bool>(
      0, [name = prefix_ + key](Engine& engine) { return engine->check({name}); });
}

int64_t Store::add(const std::string& key, int64_t value) {
  return connection_->ask<int64_t>(
      0, [name = prefix_ + key, value](Engine& engine) { return engine->add(name, value); });
}

void Store::erase(const std::string& key) {
  connection_->ask<void>(0, [name = prefix_ + key](Engine& engine) { engine->deleteKey(name); });
}

c10d::Store& Store::engine() const {
  return connection_->engine();
}

}  // namespace vmla::distributed
