#include "trainer/distributed/collectives/lead_work.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "tests/trainer/distributed/on_mesh.h"

namespace vmla::distributed {
namespace {

TEST(LeadWork, IsDoneOnceWhenAnyRankGoesOn) {
  std::atomic<int64_t> done{0};
  on_mesh({.world = 3}, [&](const Mesh& mesh) {
    while_lead_works(mesh, [&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(250));
      ++done;
    });
    EXPECT_EQ(done, 1) << mesh.rank();
  });
}

TEST(LeadWork, OfOneProcessIsDoneByTheCallingThread) {
  std::thread::id worker;
  while_lead_works(Mesh(), [&] { worker = std::this_thread::get_id(); });
  EXPECT_EQ(worker, std::this_thread::get_id());
}

TEST(LeadWork, ThatFailsEndsTheOtherRanksToo) {
  std::atomic<int64_t> lead{0}, others{0};
  EXPECT_ANY_THROW(on_mesh({.world = 3}, [&](const Mesh& mesh) {
    try {
      while_lead_works(mesh, [] { throw std::runtime_error("no room"); });
    } catch (const CommError&) {
      ++others;
      throw;
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "no room");
      ++lead;
      throw;
    }
  }));
  EXPECT_EQ(lead, 1);
  EXPECT_EQ(others, 2);
}

}  // namespace
}  // namespace vmla::distributed
