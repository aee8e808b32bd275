#include "data/store/hdf5_values.h"

#include <utility>

#include "data/store/byte_stream.h"
#include "data/store/hdf5_child.h"
#include "data/store/hdf5_reader.h"
#include "model/io/error.h"

namespace vmla::data {

template <class T, class Stream>
void stream_fields(const Hdf5Array<T>& array, Stream& stream) {
  stream(array.sizes), stream(array.values);
}
template <class T, class Stream>
void stream_fields(Hdf5Array<T>& array, Stream& stream) {
  stream(array.sizes), stream(array.values);
}

namespace {

// The first letter of a name in a request.
constexpr char kDoubles = 'd', kOptionalDoubles = 'o', kIntegers = 'i', kInteger = 'n', kText = 't';

template <class Map, class Stream>
void stream_map(Map& map, Stream& stream) {
  size_t size = map.size();
  stream(size);
  if constexpr (std::is_same_v<Stream, BytePacker>) {
    for (auto& [name, value] : map) stream(name), stream(value);
  } else {
    for (size_t i = 0; i < size; ++i) {
      std::string name;
      stream(name);
      stream(map[name]);
    }
  }
}

template <class Values, class Stream>
void stream_values(Values& values, Stream& stream) {
  stream_map(values.doubles, stream);
  stream_map(values.integers, stream);
  stream_map(values.integer_attributes, stream);
  stream_map(values.text_attributes, stream);
}

}  // namespace

Hdf5Values read_hdf5_values(const std::filesystem::path& path,
                            const std::string& expected,
                            const Hdf5Wanted& wanted) {
  const RegularFile file(path);
  std::vector<std::string> request = {"values", expected};
  const auto ask_for = [&](char kind, const std::vector<std::string>& names) {
    for (const std::string& name : names) request.push_back(kind + name);
  };
  ask_for(kText, wanted.text_attributes);
  ask_for(kIntegers, wanted.integers);
  ask_for(kInteger, wanted.integer_attributes);
  ask_for(kDoubles, wanted.doubles);
  ask_for(kOptionalDoubles, wanted.optional_doubles);
  const std::string bytes = ask_hdf5_child(file, request);
  Hdf5Values values;
  bool whole = true;
  try {
    ByteUnpacker unpacker(bytes);
    stream_values(values, unpacker);
  } catch (const WrongBytes&) {
    whole = false;
  }
  // Arrays must have the elements that their sizes promise.
  const auto fits = [](const auto& array) {
    uint64_t left = array.values.size();
    bool none = false;
    for (const int64_t size : array.sizes) {
      none = none || size == 0;
      if (size > 0 && left % static_cast<uint64_t>(size) == 0) left /= static_cast<uint64_t>(size);
    }
    return none ? array.values.empty() : left == 1;
  };
  for (const auto& [name, array] : values.doubles) whole = whole && fits(array);
  for (const auto& [name, array] : values.integers) whole = whole && fits(array);
  if (!whole) fail_user("{}: damaged: HDF5 reads contradictions from it", path.string());
  return values;
}

Hdf5Values read_hdf5_values(RegularFile file, const std::vector<std::string>& request) {
  const Hdf5Reader reader(std::move(file), request.at(1));
  Hdf5Values values;
  for (size_t i = 2; i < request.size(); ++i) {
    const std::string name = request[i].substr(1);
    switch (request[i][0]) {
      case kText:
        values.text_attributes[name] = reader.text_attribute(name.c_str());
        break;
      case kInteger:
        values.integer_attributes[name] = reader.integer_attribute(name.c_str());
        break;
      case kIntegers:
        values.integers[name] = reader.integers(name);
        break;
      case kDoubles:
        values.doubles[name] = reader.doubles(name);
        break;
      case kOptionalDoubles:
        if (reader.has(name)) values.doubles[name] = reader.doubles(name);
        break;
    }
  }
  return values;
}

std::string pack_hdf5_values(const Hdf5Values& values) {
  BytePacker packer;
  stream_values(values, packer);
  return packer.bytes();
}

}  // namespace vmla::data
