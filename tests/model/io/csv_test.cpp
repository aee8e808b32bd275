#include "model/io/csv.h"

#include <gtest/gtest.h>

namespace vmla::io {
namespace {

TEST(Csv, RowsAreReadBack) {
  const std::vector<std::string> row = {"a", "b,c", "d \"e\"", "f\ng", ""};
  EXPECT_EQ(parse_csv(csv_row(row), "x"), (std::vector<std::vector<std::string>>{row}));
}

}  // namespace
}  // namespace vmla::io
