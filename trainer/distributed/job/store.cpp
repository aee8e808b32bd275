#include "trainer/distributed/job/store.h"

#include <ATen/core/Tensor.h>
#include <sys/resource.h>
#include <unistd.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <future>
#include <mutex>
#include <thread>

#include "model/io/error.h"

namespace vmla::distributed {
namespace {

using Engine = c10::intrusive_ptr<c10d::TCPStore>;

// A living server answers in well under a millisecond; a host that swaps may take seconds.
constexpr double kAnswerSeconds = 30;
// A host accepts connections even while its server is stopped: a refusal is soon final.
constexpr double kRefusedSeconds = 1;

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1e3));
}

/// c10d warns on stderr, with a stack, of every attempt to connect and of every lost connection;
/// what matters is said by whoever catches the error. The level is the process's, so holders are
/// counted.
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

}  // namespace

/// The thread that speaks to the server, and what it is asked to do.
class Store::Connection {
 public:
  Connection(Server server, double answer_seconds)
      : server_(std::move(server)), answer_seconds_(answer_seconds) {
    thread_ = std::thread([state = state_] { state->run(); });
  }

  ~Connection() {
    {
      const std::scoped_lock lock(state_->mutex);
      state_->ended = true;
    }
    state_->changed.notify_all();
    // A thread that waits for a stopped server waits for ever; what it needs it holds itself.
    silent_ ? thread_.detach() : thread_.join();
  }

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void open(const c10d::TCPStoreOptions& options, double timeout_seconds) {
    // By value: after a timeout the thread goes on alone.
    ask<void>(timeout_seconds, [state = state_.get(), host = server_.host, options](auto&) {
      state->engine = c10::make_intrusive<c10d::TCPStore>(host, options);
    });
  }

  /// Runs `work` on the thread; `more_seconds`: how long the work itself may wait.
  template <class Result>
  Result ask(double more_seconds, std::function<Result(Engine&)> work) {
    const double limit = more_seconds + answer_seconds_;
    if (!silent_) {
      auto task = std::make_shared<std::packaged_task<Result()>>(
          [state = state_.get(), work = std::move(work)] {
            const Quiet quiet;
            return work(state->engine);
          });
      std::future<Result> result = task->get_future();
      state_->post([task] { (*task)(); });
      if (result.wait_for(milliseconds(limit)) == std::future_status::ready) {
        try {
          return result.get();
        } catch (const c10::DistStoreError&) {  // a key did not come in time
          throw;
        } catch (const std::exception& error) {
          throw StoreError(formatted("the job's store at {} is gone: {}", name(), error.what()),
                           true);
        }
      }
      silent_ = true;
    }
    throw StoreError(formatted("the job's store at {} has not answered for {:g} s", name(), limit),
                     false);
  }

  c10d::Store& engine() const { return *state_->engine; }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::function<void()>> work;
    bool ended = false;
    Engine engine;

    void post(std::function<void()> one) {
      {
        const std::scoped_lock lock(mutex);
        work.push_back(std::move(one));
      }
      changed.notify_all();
    }

    void run() {
      std::unique_lock lock(mutex);
      while (true) {
        changed.wait(lock, [&] { return ended || !work.empty(); });
        if (work.empty()) return;
        const auto one = std::move(work.front());
        work.pop_front();
        lock.unlock();
        one();
        lock.lock();
      }
    }
  };

  std::string name() const { return formatted("{}:{}", server_.host, server_.port); }

  Server server_;
  double answer_seconds_;
  bool silent_ = false;
  std::shared_ptr<State> state_ = std::make_shared<State>();
  std::thread thread_;
};

Store::Store(Server server, std::string prefix, std::unique_ptr<Connection> connection)
    : server_(std::move(server)), prefix_(std::move(prefix)), connection_(std::move(connection)) {}

Store::~Store() = default;

std::unique_ptr<Store> Store::serve(const Server& server,
                                    int socket,
                                    std::string prefix,
                                    double timeout_seconds) {
  allow_many_files();
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(server.port);
  options.isServer = true;
  options.waitWorkers = false;
  options.masterListenFd = socket;
  options.timeout = milliseconds(timeout_seconds);
  auto connection = std::make_unique<Connection>(server, kAnswerSeconds);
  connection->open(options, timeout_seconds);
  return std::unique_ptr<Store>(new Store(server, std::move(prefix), std::move(connection)));
}

std::unique_ptr<Store> Store::connect(const Server& server,
                                      std::string prefix,
                                      double timeout_seconds) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(server.port);
  options.waitWorkers = false;
  options.timeout = milliseconds(timeout_seconds);
  auto connection = std::make_unique<Connection>(server, kAnswerSeconds);
  connection->open(options, timeout_seconds);
  return std::unique_ptr<Store>(new Store(server, std::move(prefix), std::move(connection)));
}

std::unique_ptr<Store> Store::connect_again(double answer_seconds) const {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(server_.port);
  options.waitWorkers = false;
  options.timeout = milliseconds(kRefusedSeconds);
  auto connection = std::make_unique<Connection>(server_, answer_seconds);
  connection->open(options, 0);
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
