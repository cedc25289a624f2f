//! A folder as the kubelet mounts a ConfigMap or a Secret.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use super::issuer::scratch;

/// Every file is a symbolic link to `..data/NAME`, and `..data` one to a folder with the time in its name. A change is a
/// new folder and one rename.
pub struct Mount {
    folder: PathBuf,
    files: BTreeMap<String, String>,
    swaps: u32,
}

impl Mount {
    pub fn new(files: &[(&str, String)]) -> Mount {
        let mut mount = Mount { folder: scratch("mount"), files: BTreeMap::new(), swaps: 0 };
        mount.swap(files);
        mount
    }

    /// Replaces these files, all in one moment.
    pub fn swap(&mut self, files: &[(&str, String)]) {
        self.files.extend(files.iter().map(|(name, content)| ((*name).to_owned(), content.clone())));
        self.publish();
    }

    /// The same without `name`.
    pub fn swap_away(&mut self, name: &str) {
        self.files.remove(name);
        self.publish();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn publish(&mut self) {
        self.swaps += 1;
        let new = format!("..2026_11_22_14_00_00.{:09}", self.swaps);
        let folder = self.folder.join(&new);
        fs::create_dir(&folder).unwrap();
        for (name, content) in &self.files {
            let file = folder.join(name);
            fs::write(&file, content).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).unwrap();
        }
        let (data, draft) = (self.folder.join("..data"), self.folder.join("..data_tmp"));
        let old = fs::read_link(&data).ok();
        symlink(&new, &draft).unwrap();
        fs::rename(&draft, &data).unwrap();
        for name in self.files.keys().filter(|name| !is_link(&self.folder.join(name))) {
            symlink(Path::new("..data").join(name), self.folder.join(name)).unwrap();
        }
        for entry in fs::read_dir(&self.folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !name.starts_with("..") && !self.files.contains_key(&name) {
                fs::remove_file(self.folder.join(name)).unwrap();
            }
        }
        if let Some(old) = old {
            fs::remove_dir_all(self.folder.join(old)).unwrap();
        }
    }
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}
