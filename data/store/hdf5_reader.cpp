#include "data/store/hdf5_reader.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace vmla::data {
namespace {

bool holds_numbers(hid_t type) {
  return H5Tget_class(type) == H5T_INTEGER || H5Tget_class(type) == H5T_FLOAT;
}

/// The type under which HDF5 hands out variable-length strings stored as `stored`. It must carry
/// the file's character set: HDF5 does not convert ASCII to UTF-8.
Hdf5Handle memory_string_type(hid_t stored) {
  Hdf5Handle type = hdf5_string_type();
  H5Tset_cset(type, H5Tget_cset(stored));
  return type;
}

/// A compressed dataset may hold this many times the bytes of the file: embeddings shrink by less,
/// and a small file must not ask for the machine.
constexpr uint64_t kMostExpansion = 16;

/// HDF5 asks this before it follows a link to another file.
herr_t refuse_link(const char*, const char*, const char*, const char*, unsigned*, hid_t, void*) {
  return -1;
}

/// Memory for a text of variable length, as long as the budget lasts: any number of elements may
/// name the same long text.
void* allocate_text(size_t bytes, void* budget) {
  auto& left = *static_cast<uint64_t*>(budget);
  if (bytes > left) return nullptr;
  left -= bytes;
  return std::malloc(bytes);
}

void free_text(void* text, void*) {
  std::free(text);
}

}  // namespace

Hdf5Reader::Hdf5Reader(RegularFile file, std::string expected)
    : disk_(std::move(file)),
      expected_(std::move(expected)),
      source_(disk_),
      text_budget_(2 * disk_.bytes() + 4096),  // each text takes a final zero besides
      within_(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose),
      transfer_(H5Pcreate(H5P_DATASET_XFER), H5Pclose),
      file_(-1, H5Fclose) {
  H5PLset_loading_state(0);  // a file does not choose which code is loaded
  H5Pset_elink_cb(within_, refuse_link, nullptr);
  H5Pset_vlen_mem_manager(transfer_, allocate_text, &text_budget_, free_text, nullptr);
  file_ = Hdf5Handle(H5Fopen(disk_.path().c_str(), H5F_ACC_RDONLY, source_.access()), H5Fclose);
  if (!file_.valid()) fail("", "not a readable HDF5 file: {}", hdf5_reason());
}

bool Hdf5Reader::has(const std::string& name) const {
  // HDF5 asks for one link at a time: a missing group on the way is an error to it, not a no.
  const std::string group = name.substr(0, name.rfind('/'));
  if (!group.empty() && H5Lexists(file_, group.c_str(), within_) <= 0) return false;
  expect_no_other_file(group);
  return H5Lexists(file_, name.c_str(), within_) > 0;
}

void Hdf5Reader::expect_no_other_file(const std::string& name) const {
  if (name.empty()) return;
  H5L_info_t link;
  if (H5Lget_info(file_, name.c_str(), &link, within_) < 0) return;  // opening it says why
  if (link.type != H5L_TYPE_HARD && link.type != H5L_TYPE_SOFT) {
    fail(name, "is a link to another file; what belongs to the dataset must be in this one");
  }
}

Hdf5Dataset Hdf5Reader::open(const std::string& name) const {
  if (!has(name)) fail(name, "missing; {} has it", expected_);
  expect_no_other_file(name);
  Hdf5Dataset set{name, Hdf5Handle(H5Dopen2(file_, name.c_str(), within_), H5Dclose), {}};
  if (!set.id.valid()) fail(name, "cannot be opened: {}", hdf5_reason());
  const Hdf5Handle space(H5Dget_space(set.id), H5Sclose);
  if (H5Sget_simple_extent_type(space) == H5S_NULL) fail(name, "holds nothing");
  std::vector<hsize_t> sizes(static_cast<size_t>(std::max(0, H5Sget_simple_extent_ndims(space))));
  H5Sget_simple_extent_dims(space, sizes.data(), nullptr);
  set.sizes.assign(sizes.begin(), sizes.end());
  expect_room(set);
  return set;
}

void Hdf5Reader::expect_room(const Hdf5Dataset& set) const {
  const Hdf5Handle properties(H5Dget_create_plist(set.id), H5Pclose);
  if (H5Pget_layout(properties) == H5D_VIRTUAL || H5Pget_external_count(properties) > 0) {
    fail(set.name, "is stored in another file; what belongs to the dataset must be in this one");
  }
  const Hdf5Handle type(H5Dget_type(set.id), H5Tclose);
  // Without an element nothing is read, but sizes beside the 0 could still be any number.
  const uint64_t room = file_bytes() * (H5Pget_nfilters(properties) > 0 ? kMostExpansion : 1);
  uint64_t bytes = std::max<uint64_t>(1, H5Tget_size(type));
  for (const int64_t size : set.sizes) {
    const auto factor = static_cast<uint64_t>(std::max<int64_t>(size, 1));
    if (size < 0 || factor > room / bytes) fail(set.name, "is larger than the whole file");
    bytes *= factor;
  }
}

Hdf5Dataset Hdf5Reader::open(const std::string& name, size_t dimensions) const {
  Hdf5Dataset set = open(name);
  const size_t found = set.sizes.size();
  if (found != dimensions) fail(name, "has {} dimensions, must have {}", found, dimensions);
  return set;
}

void Hdf5Reader::read(const Hdf5Dataset& set, hid_t type, void* into) const {
  const herr_t status = H5Dread(set.id, type, H5S_ALL, H5S_ALL, transfer_, into);
  if (status < 0) fail(set.name, "cannot be read: {}", hdf5_reason());
}

void Hdf5Reader::release(const Hdf5Dataset& set, hid_t type, void* texts) const {
  const Hdf5Handle space(H5Dget_space(set.id), H5Sclose);
  H5Dvlen_reclaim(type, space, transfer_, texts);
}

uint64_t Hdf5Reader::chunk_offset(const Hdf5Dataset& set, int64_t row, uint64_t bytes) const {
  std::vector<hsize_t> corner(set.sizes.size(), 0);
  corner[0] = static_cast<hsize_t>(row);
  if (unread_.size() < bytes) unread_.resize(bytes);
  // H5Dget_chunk_info_by_coord would answer too, but HDF5 1.10 searches all chunks each time, and
  // leaves out the user block before the data.
  const Hdf5Source::Place place = source_.place_of([&] {
    uint32_t filters = 0;
    return H5Dread_chunk(set.id, H5P_DEFAULT, corner.data(), &filters, unread_.data()) >= 0;
  });
  if (place.bytes == 0)
    fail(set.name,
         "clip {} was never written, or the index of the chunks is damaged ({})",
         row,
         hdf5_reason());
  if (place.bytes != bytes) fail(set.name, "the index of its chunks is damaged");
  return place.offset;
}

void Hdf5Reader::expect_type(const Hdf5Dataset& set,
                             H5T_class_t wanted,
                             size_t bytes,
                             const char* words) const {
  const Hdf5Handle type(H5Dget_type(set.id), H5Tclose);
  const bool fits = H5Tget_class(type) == wanted && (bytes == 0 || H5Tget_size(type) == bytes);
  if (!fits) fail(set.name, "must hold {}", words);
  if (bytes > 1 && H5Tget_order(type) != H5T_ORDER_LE) fail(set.name, "must be little-endian");
}

void Hdf5Reader::expect_end() const {
  const uint64_t end = source_.end();
  if (file_bytes() <= end) return;
  fail("", "its end is damaged or cut off ({} bytes, its data ends at {})", file_bytes(), end);
}

template <class T>
Hdf5Array<T> Hdf5Reader::numbers(const std::string& name, hid_t type) const {
  Hdf5Dataset set = open(name);
  const Hdf5Handle stored(H5Dget_type(set.id), H5Tclose);
  if (!holds_numbers(stored)) fail(name, "must hold numbers");
  int64_t count = 1;
  for (const int64_t size : set.sizes) count *= size;
  Hdf5Array<T> array{set.sizes, std::vector<T>(static_cast<size_t>(count))};
  if (count > 0) read(set, type, array.values.data());
  return array;
}

Hdf5Array<double> Hdf5Reader::doubles(const std::string& name) const {
  return numbers<double>(name, H5T_NATIVE_DOUBLE);
}

Hdf5Array<int64_t> Hdf5Reader::integers(const std::string& name) const {
  return numbers<int64_t>(name, H5T_NATIVE_INT64);
}

std::vector<std::string> Hdf5Reader::strings(const std::string& name) const {
  const Hdf5Dataset set = open(name, 1);
  const auto count = static_cast<size_t>(set.sizes[0]);
  const Hdf5Handle stored(H5Dget_type(set.id), H5Tclose);
  if (H5Tget_class(stored) != H5T_STRING) fail(name, "must hold strings");
  std::vector<std::string> out;
  if (H5Tis_variable_str(stored) <= 0) {
    const size_t width = H5Tget_size(stored);  // open() has checked count · width
    if (width == 0) fail(name, "holds texts of no length");
    std::string all(count * width, '\0');
    read(set, stored, all.data());
    for (size_t i = 0; i < count; ++i) {
      out.emplace_back(all.data() + i * width, strnlen(all.data() + i * width, width));
    }
    return out;
  }
  const Hdf5Handle type = memory_string_type(stored);
  std::vector<char*> texts(count, nullptr);
  read(set, type, texts.data());
  for (const char* text : texts) out.emplace_back(text == nullptr ? "" : text);
  release(set, type, texts.data());
  return out;
}

std::string Hdf5Reader::text_attribute(const char* name) const {
  return read_text_attribute(file_, name);
}

std::string Hdf5Reader::text_attribute(const Hdf5Dataset& set, const char* name) const {
  return read_text_attribute(set.id, name);
}

std::string Hdf5Reader::read_text_attribute(hid_t place, const char* name) const {
  const Hdf5Handle made = open_attribute(place, name);
  const Hdf5Handle stored(H5Aget_type(made), H5Tclose);
  const Hdf5Handle space(H5Aget_space(made), H5Sclose);
  if (H5Tget_class(stored) != H5T_STRING) fail(name, "attribute must be a string");
  // HDF5 writes as many texts as there are, into memory that holds one.
  if (H5Sget_simple_extent_npoints(space) != 1) fail(name, "attribute must be a single string");
  if (H5Tis_variable_str(stored) > 0) {
    char* text = nullptr;
    const herr_t status = H5Aread(made, memory_string_type(stored), &text);
    if (status < 0) fail(name, "attribute cannot be read: {}", hdf5_reason());
    const std::string out = text == nullptr ? "" : text;
    H5free_memory(text);
    return out;
  }
  const size_t width = H5Tget_size(stored);
  if (width == 0 || width > file_bytes()) fail(name, "attribute has a text of {} bytes", width);
  std::string out(width, '\0');
  const herr_t status = H5Aread(made, stored, out.data());
  if (status < 0) fail(name, "attribute cannot be read: {}", hdf5_reason());
  out.resize(strnlen(out.data(), width));
  return out;
}

double Hdf5Reader::number_attribute(const char* name) const {
  double value = 0;
  read_number_attributes(name, 1, H5T_NATIVE_DOUBLE, &value);
  return value;
}

std::vector<int64_t> Hdf5Reader::integer_attributes(const char* name, size_t count) const {
  std::vector<int64_t> values(count);
  read_number_attributes(name, count, H5T_NATIVE_INT64, values.data());
  return values;
}

Hdf5Handle Hdf5Reader::open_attribute(hid_t place, const char* name) const {
  const bool there = H5Aexists(place, name) > 0;
  if (!there) fail(name, "this attribute is missing; {} has it", expected_);
  Hdf5Handle made(H5Aopen(place, name, H5P_DEFAULT), H5Aclose);
  if (!made.valid()) fail(name, "attribute cannot be opened: {}", hdf5_reason());
  return made;
}

void Hdf5Reader::read_number_attributes(const char* name,
                                        size_t count,
                                        hid_t type,
                                        void* into) const {
  const Hdf5Handle made = open_attribute(file_, name);
  const Hdf5Handle space(H5Aget_space(made), H5Sclose);
  const Hdf5Handle stored(H5Aget_type(made), H5Tclose);
  const bool fits =
      holds_numbers(stored) && H5Sget_simple_extent_npoints(space) == static_cast<hssize_t>(count);
  if (!fits) fail(name, "attribute must hold {}{}", count, count == 1 ? " number" : " numbers");
  if (H5Aread(made, type, into) < 0) fail(name, "attribute cannot be read: {}", hdf5_reason());
}

}  // namespace vmla::data
