#include "trainer/distributed/collectives/group_members.h"

#include "model/io/error.h"

#include <c10/util/Exception.h>

#include <algorithm>

namespace vmla::distributed {

int64_t index_among(const std::vector<int64_t>& ranks, int64_t rank) {
  const auto own = std::find(ranks.begin(), ranks.end(), rank);
  TORCH_CHECK(own != ranks.end() && std::is_sorted(ranks.begin(), ranks.end()),
              "a group has its members in order, this rank among them");
  return own - ranks.begin();
}

std::string group_key(Store& store,
                      const char* engine,
                      const std::string& name,
                      const std::vector<int64_t>& ranks,
                      int64_t rank) {
  const std::string key = formatted("{}/{}/{}/", engine, name, ranks.front());
  const bool is_first = store.add(formatted("{}made/{}", key, rank), 1) == 1;
  TORCH_CHECK(is_first, "a second group named ", name);
  return key;
}

}  // namespace vmla::distributed
